#define SPICE_DEBUG(...) do { } while (0)

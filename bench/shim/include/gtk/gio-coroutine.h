/* Stands in for spice-gtk's coroutines: nothing else runs here, so what is not there will never come. */
#ifndef SPICEHOP_SHIM_GIO_COROUTINE_H
#define SPICEHOP_SHIM_GIO_COROUTINE_H

#include <glib.h>

#define g_coroutine_self() NULL
#define g_coroutine_condition_wait(self, condition, data) ((condition)(data))

#endif

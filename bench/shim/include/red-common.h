/* Stands in for the server's own header, of which the GLZ encoder wants the logging. */
#ifndef SPICEHOP_SHIM_RED_COMMON_H
#define SPICEHOP_SHIM_RED_COMMON_H

#include <stdbool.h>
#include <glib.h>
#include <spice/macros.h>
#include <common/log.h>

#endif

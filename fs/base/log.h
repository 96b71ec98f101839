/* The daemon's log: standard error with -f, else syslog. One line a message:
 * "courierfs: LEVEL: text" on standard error. Thread safe. */
#pragma once

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO };

void log_to_syslog(void); /* from now on; default is standard error */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

static atomic_bool to_syslog;

void log_to_syslog(void)
{
    openlog("courierfs", LOG_PID, LOG_MAIL);
    atomic_store(&to_syslog, true);
}

/* Names of files and texts from them come into messages: none may look like a line of ours. */
static void mask_controls(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

__attribute__((format(printf, 3, 0))) static void log_line(int priority, const char *level,
                                                           const char *format, va_list args)
{
    int saved = errno;
    char text[4096];
    vsnprintf(text, sizeof(text), format, args);
    mask_controls(text);
    if (atomic_load(&to_syslog)) {
        syslog(priority, "%s: %s", level, text);
    } else {
        /* One write, so that lines of several threads do not mix. */
        char line[sizeof(text) + 32];
        int len = snprintf(line, sizeof(line), "%s: %s: %s\n", program_invocation_short_name, level,
                           text);
        if (write(STDERR_FILENO, line, (size_t)len) < 0) {
            /* There is nowhere left to tell. */
        }
    }
    errno = saved;
}

void log_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(LOG_ERR, "error", format, args);
    va_end(args);
}

void log_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(LOG_WARNING, "warning", format, args);
    va_end(args);
}

void log_info(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(LOG_INFO, "info", format, args);
    va_end(args);
}

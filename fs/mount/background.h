/* Leaving the terminal, in two steps: so that whoever started the program learns how it went. */
#pragma once

/* Forks. In the child it returns; the parent waits until the child calls background_ready() or
 * ends, and exits with 0 or 1 accordingly. Nothing may have been started or opened for good before
 * (threads, LMDB). -errno if there was no fork. */
int background_start(void);

/* From here on the child is on its own: messages go to syslog. Does nothing without
 * background_start(). */
void background_ready(void);

/* What must be done when the daemon dies, whatever it dies of. keeper.c says what and why. */
#pragma once

#include <sys/types.h>

struct bridge;

struct keeper {
    pid_t pid; /* 0 = none */
    int life;  /* the daemon's end of the pipe: closed by its death */
};

/* Starts the keeper of a mount with this descriptor of /dev/fuse. 0 or -errno. */
int keeper_start(struct keeper *keeper, int fuse_fd, struct bridge *bridge);
/* The daemon ends in good order. */
void keeper_dismiss(struct keeper *keeper);

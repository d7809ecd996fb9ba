/*
 * Runs a command, with nothing to read and its output thrown away, and prints what that took:
 *
 *     timed COMMAND [ARGUMENT]...
 *
 * the wall time and the processor's time in microseconds, the peak memory in KiB, the page faults, and how it ended. A
 * program of its own, and a small one, because a child's peak memory is at least that of the process it was made by.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    if (argc < 2) return 64;
    posix_spawn_file_actions_t streams;
    posix_spawn_file_actions_init(&streams);
    posix_spawn_file_actions_addopen(&streams, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&streams, 1, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status;
    struct rusage used;
    long long began = now();
    if (posix_spawn(&child, argv[1], &streams, NULL, argv + 1, environ)) {
        perror(argv[1]);
        return 66;
    }
    if (wait4(child, &status, 0, &used) != child) return 71;
    long long wall = now() - began;
    long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    printf("%lld %lld %ld %ld %d\n", wall, cpu, used.ru_maxrss, used.ru_minflt, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    return 0;
}

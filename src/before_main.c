/*
 * What has to be seen before Rust's runtime changes it, or cannot be asked of the system without unsafe code. This runs
 * before main.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

/*
 * Standard streams that the parent has closed stay unusable.
 *
 * Rust's runtime puts /dev/null, open for reading and writing, in the place of closed standard descriptors. Others hand
 * /dev/null to us just so on purpose (Python's DEVNULL, daemon(3)), and nothing tells the one from the other afterwards: a
 * report written to a closed stream would count as told, and a closed standard input as an empty message. So /dev/null is
 * put there before, so that reading from 0 and writing to 1 fail, as they would have.
 */
static void occupy(int descriptor, int mode)
{
    if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF)
        /* The lowest free number: those below are open by now. */
        (void) open("/dev/null", mode);
}

__attribute__((constructor)) static void occupy_closed_streams(void)
{
    occupy(0, O_WRONLY);
    occupy(1, O_RDONLY);
}

/*
 * Signals that are ignored are to stay so: a variable of the environment names them, which src/stop.rs reads. It is there
 * only if there are any.
 */
static int is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

__attribute__((constructor)) static void name_ignored_signals(void)
{
    static const char variable[] = "IGNORED_SIGNALS_OF_LMTP_SEND";
    char names[4], *end = names;
    if (is_ignored(SIGHUP)) *end++ = 'H';
    if (is_ignored(SIGINT)) *end++ = 'I';
    if (is_ignored(SIGTERM)) *end++ = 'T';
    *end = 0;
    if (end == names)
        (void) unsetenv(variable);
    else
        /* Without memory for that they are caught, and end a run in good order. */
        (void) setenv(variable, names, 1);
}

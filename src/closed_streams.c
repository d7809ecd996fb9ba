/*
 * Standard streams that the parent has closed stay unusable.
 *
 * Rust's runtime puts /dev/null, open for reading and writing, in the place of closed standard descriptors before main
 * is called. Others hand /dev/null to us just so on purpose (Python's DEVNULL, daemon(3)), and nothing tells the one
 * from the other afterwards: a report written to a closed stream would count as told, and a closed standard input as an
 * empty message. This runs before that, and puts /dev/null there so that reading from 0 and writing to 1 fail, as they
 * would have. C, since Rust has no code before its runtime without unsafe.
 */
#include <errno.h>
#include <fcntl.h>

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

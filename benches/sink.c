/*
 * An LMTP server that accepts everything and keeps nothing, and takes as little time for it as it can: what many messages
 * are sent to when the sender is measured.
 *
 *     sink SOCKET
 *
 * It offers PIPELINING, 8BITMIME and SIZE. One thread serves all connections. It answers what a client in its right mind
 * says, and no more: a command that is not known is answered 250, a line that is too long ends the session.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { SESSIONS = 64, LINE = 1024, BLOCK = 256 << 10, REPLIES = 16 << 10 };

struct session {
    int recipients, in_message;
    size_t length; /* of the line that has begun, of which the first octets are kept */
    char line[LINE];
};

static struct session sessions[SESSIONS];
static struct pollfd sockets[1 + SESSIONS]; /* the listening one first */
static int count;
static char block[BLOCK], replies[REPLIES];
static size_t replied;

static void say(const char *reply)
{
    size_t length = strlen(reply);
    if (replied + length <= sizeof replies) memcpy(replies + replied, reply, length), replied += length;
}

/* What a command, or a line of a message, is answered; 1: the session ends. */
static int answer(struct session *session)
{
    const char *line = session->line;
    if (session->in_message) {
        if (session->length != 3 || memcmp(line, ".\r\n", 3)) return 0;
        session->in_message = 0;
        for (; session->recipients; session->recipients--) say("250 2.0.0 ok\r\n");
    } else if (!strncasecmp(line, "LHLO", 4)) {
        say("250-sink\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE\r\n250 PIPELINING\r\n");
    } else if (!strncasecmp(line, "RCPT", 4)) {
        session->recipients++;
        say("250 2.1.5 ok\r\n");
    } else if (!strncasecmp(line, "DATA", 4)) {
        session->in_message = 1;
        say("354 go on\r\n");
    } else if (!strncasecmp(line, "QUIT", 4)) {
        say("221 2.0.0 bye\r\n");
        return 1;
    } else {
        say("250 2.0.0 ok\r\n");
    }
    return 0;
}

/* Takes octets of a session; 1: it ends. */
static int take(struct session *session, const char *at, size_t octets)
{
    for (const char *end = at + octets; at < end;) {
        const char *found = memchr(at, '\n', end - at);
        size_t length = (found ? found + 1 : end) - at;
        size_t room = session->length < LINE - 1 ? LINE - 1 - session->length : 0;
        if (!session->in_message && length > room) return 1;
        /* Of a message, only a line of three octets can matter. */
        if (!session->in_message || session->length + length <= 3) {
            memcpy(session->line + session->length, at, length);
            session->line[session->length + length] = 0;
        }
        session->length += length;
        at += length;
        if (!found) return 0;
        int ends = answer(session);
        session->length = 0;
        if (ends) return 1;
    }
    return 0;
}

/* What can be read of session i; 1: it has ended. */
static int serve(int i)
{
    int socket = sockets[1 + i].fd;
    ssize_t got = read(socket, block, sizeof block);
    if (got <= 0) return 1;
    replied = 0;
    int ends = take(&sessions[i], block, got);
    return (replied && write(socket, replies, replied) != (ssize_t) replied) || ends;
}

static void greet(int socket)
{
    static const char greeting[] = "220 sink LMTP\r\n";
    if (socket < 0) return;
    if (count == SESSIONS || write(socket, greeting, sizeof greeting - 1) < 0) {
        close(socket);
        return;
    }
    memset(&sessions[count], 0, offsetof(struct session, line));
    sockets[1 + count++] = (struct pollfd){ .fd = socket, .events = POLLIN };
}

int main(int argc, char **argv)
{
    if (argc != 2) return 64;
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    unlink(argv[1]);
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *) &address, sizeof address) || listen(listening, SESSIONS)) {
        perror(argv[1]);
        return 1;
    }
    sockets[0] = (struct pollfd){ .fd = listening, .events = POLLIN };
    while (poll(sockets, 1 + count, -1) > 0 || errno == EINTR) {
        for (int i = count - 1; i >= 0; i--) {
            if (!sockets[1 + i].revents || !serve(i)) continue;
            close(sockets[1 + i].fd);
            count--;
            sockets[1 + i] = sockets[1 + count];
            sessions[i] = sessions[count];
        }
        if (sockets[0].revents) greet(accept(listening, NULL, NULL));
    }
    return 1;
}

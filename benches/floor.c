/*
 * The least that a client can do to deliver by LMTP over a Unix-domain socket: what lmtp-send is measured beside.
 *
 *     floor SOCKET SENDER RECIPIENT COUNT FILE...
 *
 * Each FILE is opened, measured (fstat, and its lines counted, since SIZE is said with CRLF line ends) and read, and sent
 * COUNT times, with the next envelope behind a message's end. A FILE of more than 1 MiB is read twice, once to be
 * counted. Nothing that a server says is looked at beyond its first digit, nothing is waited for beyond a reply, and a
 * failure of any kind ends it: it is a yardstick and delivers nobody's mail.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { SMALL = 1 << 20, BLOCK = 128 << 10 };

static int server;
static char raw[SMALL], wire[2 * SMALL + 16], input[4096];
static size_t have, taken;

static void fail(const char *what)
{
    perror(what);
    exit(75);
}

static void put(const char *octets, size_t count)
{
    while (count) {
        ssize_t written = write(server, octets, count);
        if (written <= 0) fail("write");
        octets += written;
        count -= written;
    }
}

/* Waits for so many replies, each 2yz or 3yz. */
static void expect(int replies)
{
    static int column;
    static char first, after_code;
    while (replies) {
        if (taken == have) {
            ssize_t got = read(server, input, sizeof input);
            if (got <= 0) fail("read");
            have = got;
            taken = 0;
        }
        char octet = input[taken++];
        if (octet == '\n') {
            if (first > '3') fail("refused");
            if (after_code != '-') replies--;
            column = 0;
            continue;
        }
        if (column == 0) first = octet;
        if (column == 3) after_code = octet;
        column++;
    }
}

static size_t lines(const char *octets, size_t count)
{
    size_t found = 0;
    const char *end = octets + count;
    for (const char *at = octets; (at = memchr(at, '\n', end - at)); at++) found++;
    return found;
}

/* The wire form of octets that end in LF, dots doubled; line_start: they begin a line. */
static size_t encode(const char *octets, size_t count, int *line_start)
{
    char *out = wire;
    const char *end = octets + count;
    while (octets < end) {
        const char *found = memchr(octets, '\n', end - octets);
        size_t length = (found ? found : end) - octets;
        if (*line_start && *octets == '.') *out++ = '.';
        memcpy(out, octets, length);
        out += length;
        octets += length;
        if ((*line_start = found != NULL)) {
            *out++ = '\r';
            *out++ = '\n';
            octets++;
        }
    }
    return out - wire;
}

/* Counts the file, and keeps a small one: its octets as they are sent. */
static size_t measure(int file, size_t size)
{
    size_t found = 0;
    if (size <= SMALL) {
        if (read(file, raw, size) != (ssize_t) size) fail("file");
        return size + lines(raw, size);
    }
    for (ssize_t got; (got = read(file, raw, BLOCK)) > 0;) found += got + lines(raw, got);
    if (lseek(file, 0, SEEK_SET)) fail("lseek");
    return found;
}

static void send_message(int file, size_t size)
{
    int line_start = 1;
    size_t count = 0;
    if (size <= SMALL) {
        count = encode(raw, size, &line_start);
    } else {
        for (ssize_t got; (got = read(file, raw, BLOCK)) > 0; count = 0) put(wire, encode(raw, got, &line_start));
    }
    memcpy(wire + count, ".\r\n", 3);
    put(wire, count + 3);
}

int main(int argc, char **argv)
{
    if (argc < 6) return 64;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *) &address, sizeof address)) fail(argv[1]);
    expect(1);
    put("LHLO floor\r\n", 12);
    expect(1);
    int count = atoi(argv[4]), owed = 0;
    for (int i = 5; i < argc; i++) {
        struct stat status;
        int file = open(argv[i], O_RDONLY);
        if (file < 0 || fstat(file, &status)) fail(argv[i]);
        size_t octets = measure(file, status.st_size);
        for (int copy = 0; copy < count; copy++) {
            char envelope[2048];
            int length = snprintf(envelope, sizeof envelope, "MAIL FROM:<%.500s> SIZE=%zu\r\nRCPT TO:<%.500s>\r\nDATA\r\n",
                                  argv[2], octets, argv[3]);
            put(envelope, length);
            expect(owed + 3);
            send_message(file, status.st_size);
            owed = 1;
            if (copy + 1 < count && status.st_size > SMALL && lseek(file, 0, SEEK_SET)) fail("lseek");
        }
        close(file);
    }
    put("QUIT\r\n", 6);
    expect(owed + 1);
    return 0;
}

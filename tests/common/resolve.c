/* A client of the DNS as programs are: getaddrinfo, for IPv4 and IPv6 at once. Built against glibc and against musl,
 * whose resolvers have little in common.
 *
 *     resolve NAME...           prints "NAME ADDRESS" for each address, or "NAME: REASON"
 *     resolve --storm NAME...   asks again and again until its input ends; prints "more" after every tenth answer,
 *                               "NAME: REASON after N ms" for each failure, and "done" at the end
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Asks once; prints the addresses if told to, and a failure always. */
static int resolve(const char *name, int is_storm) {
    struct addrinfo hints, *found, *each;
    long began = milliseconds();
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    int failed = getaddrinfo(name, "80", &hints, &found);
    if (failed) {
        printf("%s: %s", name, gai_strerror(failed));
        printf(is_storm ? " after %ld ms\n" : "\n", milliseconds() - began);
        return failed;
    }
    for (each = found; each && !is_storm; each = each->ai_next) {
        char text[INET6_ADDRSTRLEN];
        const void *address = each->ai_family == AF_INET
            ? (const void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr
            : (const void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;
        printf("%s %s\n", name, inet_ntop(each->ai_family, address, text, sizeof text));
    }
    freeaddrinfo(found);
    return 0;
}

int main(int count, char **words) {
    int is_storm = count > 1 && !strcmp(words[1], "--storm");
    int failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!is_storm) {
        for (int n = 1; n < count; n++) failed |= resolve(words[n], 0);
        return failed != 0;
    }
    for (unsigned long asked = 0; count > 2; asked++) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        /* Also the pause between two questions. */
        if (poll(&input, 1, 2)) break;
        resolve(words[2 + asked % (count - 2)], 1);
        if (asked % 10 == 9) puts("more");
    }
    puts("done");
    return 0;
}

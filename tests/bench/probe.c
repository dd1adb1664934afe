/* Writes when it was started, by CLOCK_MONOTONIC in nanoseconds, to the file it is given. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    char text[32];
    int fd, length;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 2 || (fd = open(argv[1], O_WRONLY | O_CREAT, 0600)) < 0)
        return 1;
    length = sprintf(text, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    return write(fd, text, length) != length;
}

// Reads and writes below its working directory, and fails to reach what is outside of it.
#include <stdio.h>
#include <sys/stat.h>

static int copy(const char *from, const char *to, const char *mode) {
    FILE *in = fopen(from, "r");
    if (!in) return perror(from), 1;
    FILE *out = fopen(to, mode);
    if (!out) return perror(to), 1;
    for (int c; (c = getc(in)) != EOF;) putc(c, out);
    return fclose(in) | fclose(out);
}

int main(void) {
    if (mkdir("sub", 0755)) return perror("sub"), 1;
    if (copy("in.txt", "sub/out.txt", "w") || copy("in.txt", "sub/out.txt", "a")) return 1;
    if (rename("sub/out.txt", "out.txt")) return perror("out.txt"), 1;
    if (remove("in.txt")) return perror("in.txt"), 1;
    if (fopen("../outside.txt", "r") || fopen("/outside.txt", "r")) return puts("escaped"), 1;
    puts("wrote out.txt");
    return 0;
}

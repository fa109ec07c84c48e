// What a trial asks of a wasm runtime: the first argument says what to do.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int words(int argc, char **argv) {
    const char *greeting = getenv("GREETING");
    printf("%s, %s\n", greeting ? greeting : "no greeting", argc > 2 ? argv[2] : "nobody");
    printf("%d on stdin\n", getchar());
    return 0;
}

static int copy(void) {
    for (int c; (c = getchar()) != EOF;) putchar(c);
    return 0;
}

static int files(void) {
    char text[16] = "";
    FILE *file = fopen("notes.txt", "w+");
    if (!file) return 1;
    fputs("kept", file);
    rewind(file);
    if (!fgets(text, sizeof text, file) || fclose(file) || remove("notes.txt")) return 1;
    puts(text);
    return 0;
}

static int memory(void) {
    for (;;) {
        // Volatile, or the compiler leaves all of it out.
        volatile char *block = malloc(1 << 20);
        if (!block) return 1;
        for (int at = 0; at < 1 << 20; at += 4096) block[at] = 1;
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "words")) return words(argc, argv);
    if (!strcmp(what, "copy")) return copy();
    if (!strcmp(what, "files")) return files();
    if (!strcmp(what, "exit")) return 3;
    if (!strcmp(what, "trap")) __builtin_trap();
    if (!strcmp(what, "memory")) return memory();
    return 64;
}

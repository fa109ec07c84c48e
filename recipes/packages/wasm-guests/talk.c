// Prints what it was given: arguments, one variable of its environment, standard input.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) printf("arg %d: %s\n", i, argv[i]);
    const char *greeting = getenv("GREETING");
    printf("env GREETING: %s\n", greeting ? greeting : "unset");
    char line[64];
    while (fgets(line, sizeof line, stdin)) printf("stdin: %s", line);
    fputs("to stderr\n", stderr);
    return 0;
}

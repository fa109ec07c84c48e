#include <stdio.h>

extern char **environ;

int main(int argc, char **argv) {
    puts("hello from wasm");
    for (int i = 0; i < argc; i++) printf("argument %d: %s\n", i, argv[i]);
    for (char **variable = environ; *variable; variable++) printf("environment: %s\n", *variable);
    return 0;
}

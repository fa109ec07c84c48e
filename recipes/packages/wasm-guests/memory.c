// Takes 1 MiB after the other and uses it, up to 256 MiB: more than its container may have.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    // Kept, or the compiler leaves both the writing and the taking out.
    static char *volatile blocks[256];
    for (int i = 0; i < 256; i++) {
        blocks[i] = malloc(1 << 20);
        if (!blocks[i]) return puts("refused"), 1;
        memset(blocks[i], i + 1, 1 << 20);
    }
    puts("survived");
    return 0;
}

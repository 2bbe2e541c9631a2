/* replay.c - feeds a fuzz harness every file of its corpus, without a fuzzer: the corpus as a unit test.
 * Also feeds each file cut short at every sixteenth of its length, because parsers break at ends. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) {
        if (f) fclose(f);
        return 0;
    }
    size_t size = (size_t)st.st_size;
    /* Exactly as large as the input, so that ASan sees a read past its end. */
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, f) != size) {
        fprintf(stderr, "can't read %s\n", path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    for (size_t i = 0; i < 16; i++) {
        size_t cut = size * i / 16;
        uint8_t *part = malloc(cut ? cut : 1);
        if (!part) exit(1);
        memcpy(part, data, cut);
        LLVMFuzzerTestOneInput(part, cut);
        free(part);
    }
    free(data);
    return 1;
}

int main(int argc, char **argv) {
    int n = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            n += replay_file(argv[i]);
            continue;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            n += replay_file(path);
        }
        closedir(dir);
    }
    if (n == 0) {
        fprintf(stderr, "no corpus\n");
        return 1;
    }
    printf("%d inputs\n", n);
    return 0;
}

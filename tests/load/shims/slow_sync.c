/* An SD card: every sync takes SLOW_SYNC_MS milliseconds more, one at a time as on the one device.
 * For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static struct timespec delay;
static pthread_mutex_t card = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void read_delay(void)
{
    const char *text = getenv("SLOW_SYNC_MS");
    long ms = text ? atol(text) : 0;
    delay.tv_sec = ms / 1000;
    delay.tv_nsec = ms % 1000 * 1000000;
}

static int slow(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    pthread_mutex_lock(&card);
    nanosleep(&delay, NULL);
    pthread_mutex_unlock(&card);
    return real(fd);
}

int fsync(int fd)
{
    return slow("fsync", fd);
}

int fdatasync(int fd)
{
    return slow("fdatasync", fd);
}

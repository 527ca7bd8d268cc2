//go:build cgo && linux

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t miosa_ignored, miosa_blocked, miosa_ordered, miosa_closed, miosa_files[2];

#ifdef __GLIBC__
// order blocks the signals 34 to 64 if an argument is "run".
static void order(char **argument)
{
	uint64_t real_time = UINT64_MAX << 33;
	while (*argument != NULL)
		if (strcmp(*argument++, "run") == 0) {
			syscall(SYS_rt_sigprocmask, SIG_BLOCK, &real_time, NULL, 8);
			miosa_ordered = 1;
			return;
		}
}
#endif

// The C library runs this before Go's runtime. It asks the kernel itself: the library hides the signals
// that it keeps for its threads. Only glibc passes the arguments.
__attribute__((constructor)) static void note(int argc, char **argv)
{
	struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } old;
	for (int n = 1; n <= 64; n++)
		if (syscall(SYS_rt_sigaction, n, NULL, &old, 8) == 0 && old.handler == (void *)SIG_IGN)
			miosa_ignored |= (uint64_t)1 << (n - 1);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &miosa_blocked, 8);
#ifdef __GLIBC__
	if (argc > 1)
		order(argv + 1);
#endif
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
			miosa_closed |= (uint64_t)1 << fd;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		miosa_files[0] = limit.rlim_cur;
		miosa_files[1] = limit.rlim_max;
	}
}

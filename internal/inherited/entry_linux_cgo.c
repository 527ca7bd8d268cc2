//go:build cgo && linux

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t miosa_ignored, miosa_blocked, miosa_closed, miosa_files[2];

// The C library runs this before Go's runtime. It asks the kernel itself: the library hides the signals
// that it keeps for its threads.
__attribute__((constructor)) static void note(void)
{
	struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } old;
	for (int n = 1; n <= 64; n++)
		if (syscall(SYS_rt_sigaction, n, NULL, &old, 8) == 0 && old.handler == (void *)SIG_IGN)
			miosa_ignored |= (uint64_t)1 << (n - 1);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &miosa_blocked, 8);
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
			miosa_closed |= (uint64_t)1 << fd;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		miosa_files[0] = limit.rlim_cur;
		miosa_files[1] = limit.rlim_max;
	}
}

package containertest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// show prints ids, and the checksum of each variable.
func show(names []string) (int, error) {
	fmt.Fprintf(os.Stdout, "uid %d pid %d parent %d\n", os.Getuid(), os.Getpid(), os.Getppid())
	for _, name := range names {
		fmt.Fprintln(os.Stdout, variable(name))
	}
	return 0, nil
}

// variable describes a variable by its checksum.
func variable(name string) string {
	value, set := os.LookupEnv(name)
	if !set {
		return name + " isn't set"
	}
	return name + " " + sum(value)
}

// sum returns the checksum of a value that the app prints: 16 hex digits.
func sum(value string) string {
	h := sha256.Sum256([]byte(value))
	return fmt.Sprintf("%x", h[:8])
}

// keys prints for each process whether its environment and arguments contain a key.
func keys([]string) (int, error) {
	var shown []string
	for _, name := range []string{"environ", "cmdline"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + name)
		if err != nil {
			return 0, err
		}
		shown = append(shown, paths...)
	}
	slices.Sort(shown)
	for _, path := range shown {
		text, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			fmt.Fprintln(os.Stdout, path, "is closed")
		case err != nil:
			fmt.Fprintln(os.Stdout, path, "is gone")
		case bytes.Contains(text, []byte("msk_")):
			fmt.Fprintln(os.Stdout, path, "HAS A KEY")
		default:
			fmt.Fprintln(os.Stdout, path, "has no key")
		}
	}
	return 0, nil
}

// limits prints lines of /proc/self/status.
func limits([]string) (int, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		for _, name := range []string{"Uid:", "Gid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"} {
			if strings.HasPrefix(lines.Text(), name) {
				fmt.Fprintln(os.Stdout, strings.Join(strings.Fields(lines.Text()), " "))
			}
		}
	}
	return 0, nil
}

// write prints the result of creating each file.
func write(paths []string) (int, error) {
	for _, path := range paths {
		err := os.WriteFile(path, nil, 0o600)
		var number syscall.Errno
		switch {
		case err == nil:
			fmt.Fprintln(os.Stdout, path, "was made")
		case errors.As(err, &number):
			fmt.Fprintln(os.Stdout, path, "wasn't:", number)
		default:
			return 0, err
		}
	}
	return 0, nil
}

// file describes a file of NAME=value lines.
func file(args []string) (int, error) {
	path, name := args[0], args[1]
	var at unix.Stat_t
	if err := unix.Stat(path, &at); err != nil {
		return 0, err
	}
	var on unix.Statfs_t
	if err := unix.Statfs(path, &on); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	place := "a disk"
	if uint32(on.Type) == unix.TMPFS_MAGIC {
		place = "tmpfs"
	}
	fmt.Fprintf(os.Stdout, "uid %d mode %#o on %s\n", at.Uid, at.Mode&0o7777, place)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "export "), name+"="); ok {
			fmt.Fprintln(os.Stdout, name, sum(strings.Trim(value, `'"`)))
		}
	}
	return 0, nil
}

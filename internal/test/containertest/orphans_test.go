package containertest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// orphans starts a child that leaves COUNT children behind, which exit when process 1 becomes their parent. It prints how many
// there were, and how many still exist, as zombies, after a while.
func orphans(args []string) (int, error) {
	child := exec.CommandContext(context.Background(), "/app", "leave", args[0])
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := child.Start(); err != nil {
		return 0, err
	}
	var left []string
	for pids := bufio.NewScanner(stdout); pids.Scan(); { // until the last of them has ended
		left = append(left, pids.Text())
	}
	if err := child.Wait(); err != nil {
		return 0, err
	}
	there := 0
	for end := time.Now().Add(5 * time.Second); ; <-time.After(20 * time.Millisecond) {
		there = 0
		for _, pid := range left {
			if _, err := os.Stat("/proc/" + pid); err == nil {
				there++
			}
		}
		if there == 0 || time.Now().After(end) {
			break
		}
	}
	fmt.Fprintf(os.Stdout, "orphans %d still there %d\n", len(left), there)
	return 0, nil
}

// leave starts COUNT children without waiting for them.
func leave(args []string) (int, error) {
	count, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, err
	}
	for range count {
		child := exec.CommandContext(context.Background(), "/app", "linger")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// linger prints its process id and exits when process 1 is its parent.
func linger([]string) (int, error) {
	for end := time.Now().Add(10 * time.Second); os.Getppid() != 1; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			return 0, fmt.Errorf("%d has parent %d, not process 1", os.Getpid(), os.Getppid())
		}
	}
	fmt.Fprintln(os.Stdout, os.Getpid())
	return 0, nil
}

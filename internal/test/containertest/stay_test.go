package containertest

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func exit(args []string) (int, error) { return strconv.Atoi(args[0]) }

func die(args []string) (int, error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, err
	}
	if err := syscall.Kill(os.Getpid(), syscall.Signal(n)); err != nil {
		return 0, err
	}
	<-time.After(10 * time.Second)
	return 0, fmt.Errorf("signal %d didn't end it", n)
}

// longest limits how long a process waits, so that no test leaves one behind.
const longest = 2 * time.Minute

func serve(args []string) (int, error) {
	terms := terminations()
	fmt.Fprintln(os.Stdout, "serving", variable(args[0]))
	return 3, await(terms)
}

func drain(args []string) (int, error) {
	takes, err := time.ParseDuration(args[0])
	if err != nil {
		return 0, err
	}
	terms := terminations()
	fmt.Fprintln(os.Stdout, "serving")
	if err := await(terms); err != nil {
		return 0, err
	}
	<-time.After(takes)
	fmt.Fprintln(os.Stdout, "drained")
	return 5, nil
}

func deaf([]string) (int, error) {
	signal.Ignore(syscall.SIGTERM)
	fmt.Fprintln(os.Stdout, "serving")
	return 0, await(nil)
}

func terminations() <-chan os.Signal {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	return terms
}

func await(terms <-chan os.Signal) error {
	select {
	case <-terms:
		fmt.Fprintln(os.Stdout, "got TERM")
		return nil
	case <-time.After(longest):
		return fmt.Errorf("nobody ended it within %v", longest)
	}
}

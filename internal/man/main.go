// Command man writes the manual pages of a program from what its --help says, a page a command. A page says
// what help says and nothing else, so there is one text to keep.
//
//	go run ./internal/man -bin bin/miosa-env -short "start a command with its secrets" -date 2026-01-31 -to DIR
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stderr))
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	set := flag.NewFlagSet("man", flag.ContinueOnError)
	set.SetOutput(stderr)
	bin := set.String("bin", "", "the program")
	short := set.String("short", "", "what it does, in a few words")
	date := set.String("date", "", "of the pages, as 2026-01-31")
	to := set.String("to", "", "directory to write to")
	if set.Parse(args) != nil {
		return 2
	}
	w := &writer{bin: *bin, date: *date, to: *to}
	if err := errors.Join(os.MkdirAll(*to, 0o750), w.walk(ctx, []string{filepath.Base(*bin)}, *short, "")); err != nil {
		fmt.Fprintln(stderr, "man:", err)
		return 1
	}
	return 0
}

// writer writes the pages of one program.
type writer struct {
	bin, date, to string
}

// walk writes a command's page, and those of the commands below it.
func (w *writer) walk(ctx context.Context, command []string, short, parent string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, w.bin, append(command[1:len(command):len(command)], "--help")...)
	c.Env = []string{"PATH=" + os.Getenv("PATH")} // a setting of ours isn't everybody's default
	text, err := c.Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", strings.Join(command, " "), err)
	}
	p := parse(string(text))
	p.name, p.short, p.parent, p.date = strings.Join(command, "-"), short, parent, w.date
	if err := os.WriteFile(filepath.Join(w.to, p.name+".1"), []byte(p.roff()), 0o644); err != nil { //nolint:gosec // a manual page is for everybody
		return err
	}
	for _, s := range p.commands {
		for _, sub := range s.items {
			if err := w.walk(ctx, append(command[:len(command):len(command)], sub.left), sub.text, p.name); err != nil {
				return err
			}
		}
	}
	return nil
}

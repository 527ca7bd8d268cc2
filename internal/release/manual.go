package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// manual writes the manual pages of a program from its --help, one for each command.
type manual struct {
	bin, date string
	folder    string // to write to
}

// write writes the page of a command, and those of its subcommands.
func (m manual) write(ctx context.Context, command []string, short, parent string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, m.bin, append(command[1:len(command):len(command)], "--help")...)
	c.Env = []string{"PATH=" + os.Getenv("PATH")} // without our settings, which would change defaults
	text, err := c.Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", strings.Join(command, " "), err)
	}
	p := parse(string(text))
	p.name, p.short, p.parent, p.date = strings.Join(command, "-"), short, parent, m.date
	if err := os.WriteFile(filepath.Join(m.folder, p.name+".1"), []byte(p.roff()), 0o644); err != nil { //nolint:gosec // a manual page is for everybody
		return err
	}
	for _, s := range p.commands {
		for _, sub := range s.items {
			if err := m.write(ctx, append(command[:len(command):len(command)], sub.left), sub.text, p.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// item is a flag or a command, and its description.
type item struct{ left, text string }

// page is the content of a command's help.
type page struct {
	name, short, parent, date string

	about    []string // lines
	usage    []string
	examples []string
	commands []section
	flags    []section
}

// section is a titled list of commands or flags.
type section struct {
	title string
	items []item
}

var (
	titled  = regexp.MustCompile(`^(Usage|Examples|Flags|Connection flags, and their variables|Commands|Run commands with secrets|Operate a machine|Manage a tenant|Other):$`)
	flagRow = regexp.MustCompile(`^ {2,6}(-\S*(?:, --\S+)?(?: \S+)*)(?: {2,}(.*))?$`)
)

// parse parses the output of cli.Help.
func parse(help string) *page {
	p := &page{}
	title := ""
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, " \n")
		if titled.MatchString(line) {
			title = strings.TrimSuffix(line, ":")
			switch {
			case title == "Usage" || title == "Examples":
			case strings.Contains(strings.ToLower(title), "flags"):
				p.flags = append(p.flags, section{title: title})
			default:
				p.commands = append(p.commands, section{title: title})
			}
			continue
		}
		if title != "" && line != "" && line[0] != ' ' { // where to read more: SEE ALSO has that
			continue
		}
		switch {
		case title == "":
			p.about = append(p.about, line)
		case title == "Usage":
			p.usage = append(p.usage, strings.TrimSpace(line))
		case title == "Examples":
			p.examples = append(p.examples, strings.TrimPrefix(line, "  "))
		case !strings.Contains(strings.ToLower(title), "flags"):
			last := &p.commands[len(p.commands)-1]
			if name, text, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				last.items = append(last.items, item{name, strings.TrimSpace(text)})
			}
		default:
			last := &p.flags[len(p.flags)-1]
			last.add(line)
		}
	}
	for _, lines := range []*[]string{&p.about, &p.usage, &p.examples} { // without empty lines around them
		text := strings.Trim(strings.Join(*lines, "\n"), "\n")
		if *lines = nil; text != "" {
			*lines = strings.Split(text, "\n")
		}
	}
	return p
}

// add adds a line of a list of flags: a flag and its description, or more of the last description.
func (s *section) add(line string) {
	if m := flagRow.FindStringSubmatch(line); m != nil {
		s.items = append(s.items, item{m[1], m[2]})
	} else if n := len(s.items); n > 0 && line != "" {
		s.items[n-1].text = strings.TrimSpace(s.items[n-1].text + " " + strings.TrimSpace(line))
	}
}

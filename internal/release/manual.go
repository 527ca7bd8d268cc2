package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// manual makes the manual pages of a program from its --help, one for each command.
type manual struct {
	bin, date string
	files     map[string][]byte // the pages, by path below PREFIX/share
}

// add adds the page of a command, and those of its subcommands.
func (m manual) add(ctx context.Context, command []string, short, parent string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, m.bin, append(command[1:len(command):len(command)], "--help")...)
	c.Env = []string{"PATH=" + os.Getenv("PATH")} // without our settings, which would change defaults
	text, err := c.Output()
	if err != nil {
		return fmt.Errorf("%s --help: %w", strings.Join(command, " "), err)
	}
	p := page{strings.Join(command, "-"), short, parent, m.date, parse(string(text))}
	m.files["man/man1/"+p.name+".1"] = []byte(p.roff())
	for _, sub := range p.commands() {
		if err := m.add(ctx, append(command[:len(command):len(command)], sub.left), sub.text, p.name); err != nil {
			return err
		}
	}
	return nil
}

// page is a manual page.
type page struct {
	name, short, parent, date string
	sections                  []section // in the order of a manual page
}

// section is a titled part of a command's help.
type section struct {
	kind  kind
	title string
	text  string // lines, without empty ones around them
}

// kind is the kind of a section, in the order of a manual page.
type kind int

const (
	synopsis kind = iota
	description
	commands
	flags
	examples
)

// titled matches the titles in the output of cli.Help.
var titled = regexp.MustCompile(`^(Usage|Examples|Flags|Connection flags, and their variables|Flags of all commands|Commands|Run commands with secrets|Operate a machine|Manage a tenant|Other):$`)

// parse parses the output of cli.Help.
func parse(help string) []section {
	all := []section{{kind: description}}
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, " \n")
		if titled.MatchString(line) {
			title := strings.TrimSuffix(line, ":")
			all = append(all, section{kind: kindOf(title), title: title})
			continue
		}
		last := &all[len(all)-1]
		if last.kind == description || line == "" || line[0] == ' ' { // not where to read more: SEE ALSO has that
			last.text += line + "\n"
		}
	}
	for i := range all {
		all[i].text = strings.Trim(all[i].text, "\n")
	}
	slices.SortStableFunc(all, func(a, b section) int { return int(a.kind - b.kind) })
	return all
}

func kindOf(title string) kind {
	switch {
	case title == "Usage":
		return synopsis
	case title == "Examples":
		return examples
	case strings.Contains(strings.ToLower(title), "flags"):
		return flags
	}
	return commands
}

// item is a flag or a command, and its description.
type item struct{ left, text string }

// row matches the first line of an item.
var row = regexp.MustCompile(`^ {2,6}(\S+(?: \S+)*)(?: {2,}(.*))?$`)

// items returns the items of a section of commands or flags.
func (s section) items() (list []item) {
	for line := range strings.SplitSeq(s.text, "\n") {
		if m := row.FindStringSubmatch(line); m != nil {
			list = append(list, item{m[1], m[2]})
		} else if n := len(list); n > 0 { // more of the description
			list[n-1].text = strings.TrimSpace(list[n-1].text + " " + strings.TrimSpace(line))
		}
	}
	return list
}

// commands returns the subcommands.
func (p *page) commands() (list []item) {
	for _, s := range p.sections {
		if s.kind == commands {
			list = append(list, s.items()...)
		}
	}
	return list
}

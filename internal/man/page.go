package main

import (
	"regexp"
	"strings"
)

// item is a flag or a command, and what it does.
type item struct{ left, text string }

// page is what the help of one command says.
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

// parse reads what cli.Help prints.
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
		if title != "" && line != "" && line[0] != ' ' { // where to read more: that is SEE ALSO here
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
	p.about, p.usage, p.examples = trimmed(p.about), trimmed(p.usage), trimmed(p.examples)
	return p
}

// add takes a line of a list of flags: a flag with what it does, or more of what the last one does.
func (s *section) add(line string) {
	if m := flagRow.FindStringSubmatch(line); m != nil {
		s.items = append(s.items, item{m[1], m[2]})
	} else if n := len(s.items); n > 0 && line != "" {
		s.items[n-1].text = strings.TrimSpace(s.items[n-1].text + " " + strings.TrimSpace(line))
	}
}

// trimmed is lines without empty ones at either end.
func trimmed(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

package main

import (
	"fmt"
	"strings"
)

// spelled escapes text for roff, so that no quote or dash becomes another character.
var spelled = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)

// roffLine returns a line of text that isn't a request.
func roffLine(s string) string {
	s = spelled.Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s + "\n"
}

// roff returns the page in the format of man(1).
func (p *page) roff() string {
	var out strings.Builder
	heading := func(s string) { fmt.Fprintf(&out, ".SH %q\n", s) }
	fmt.Fprintf(&out, ".TH %q 1 %q %q\n", strings.ToUpper(p.name), p.date, p.name)
	heading("NAME")
	out.WriteString(spelled.Replace(p.name) + ` \- ` + roffLine(p.short))
	before := synopsis
	for _, s := range p.sections {
		switch s.kind {
		case synopsis:
			heading("SYNOPSIS")
			paragraphs(&out, s.text)
		case description:
			if s.text != "" {
				heading("DESCRIPTION")
				paragraphs(&out, s.text)
			}
		case commands:
			if before != commands {
				heading("COMMANDS")
			}
			if s.title != "Commands" {
				fmt.Fprintf(&out, ".SS %q\n", s.title)
			}
			items(&out, s.items())
		case flags:
			heading(strings.ToUpper(s.title))
			items(&out, s.items())
		case examples:
			heading("EXAMPLES")
			paragraphs(&out, s.text)
		}
		before = s.kind
	}
	if see := p.see(); len(see) > 0 {
		heading("SEE ALSO")
		out.WriteString(strings.Join(see, ",\n") + "\n")
	}
	return out.String()
}

// see lists related pages.
func (p *page) see() []string {
	var see []string
	if p.parent != "" {
		see = append(see, `\fB`+spelled.Replace(p.parent)+`\fR(1)`)
	}
	for _, c := range p.commands() {
		see = append(see, `\fB`+spelled.Replace(p.name+"-"+c.left)+`\fR(1)`)
	}
	return see
}

func items(out *strings.Builder, list []item) {
	for _, i := range list {
		out.WriteString(".TP\n.B " + roffLine(i.left) + roffLine(i.text))
	}
}

// paragraphs fills lines, except indented ones, which keep their line breaks.
func paragraphs(out *strings.Builder, text string) {
	indented := false
	for line := range strings.SplitSeq(text, "\n") {
		switch before := indented; {
		case strings.HasPrefix(line, " ") == before:
		case before:
			out.WriteString(".fi\n")
		default:
			out.WriteString(".nf\n")
		}
		indented = strings.HasPrefix(line, " ")
		if line == "" {
			out.WriteString(".PP\n")
		} else {
			out.WriteString(roffLine(strings.TrimPrefix(line, "  ")))
		}
	}
	if indented {
		out.WriteString(".fi\n")
	}
}

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
	program, _, _ := strings.Cut(p.name+" ", " ")
	fmt.Fprintf(&out, ".TH %q 1 %q %q\n", strings.ToUpper(p.name), p.date, program)
	heading("NAME")
	out.WriteString(spelled.Replace(p.name) + ` \- ` + roffLine(p.short))
	heading("SYNOPSIS")
	asItStands(&out, p.usage)
	if len(p.about) > 0 {
		heading("DESCRIPTION")
		paragraphs(&out, p.about)
	}
	if len(p.commands) > 0 {
		heading("COMMANDS")
	}
	for _, s := range p.commands {
		if s.title != "Commands" {
			fmt.Fprintf(&out, ".SS %q\n", s.title)
		}
		items(&out, s.items)
	}
	for _, s := range p.flags {
		heading(strings.ToUpper(s.title))
		items(&out, s.items)
	}
	if len(p.examples) > 0 {
		heading("EXAMPLES")
		asItStands(&out, p.examples)
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
	for _, s := range p.commands {
		for _, c := range s.items {
			see = append(see, `\fB`+spelled.Replace(p.name+"-"+c.left)+`\fR(1)`)
		}
	}
	return see
}

func items(out *strings.Builder, list []item) {
	for _, i := range list {
		out.WriteString(".TP\n.B " + roffLine(i.left) + roffLine(i.text))
	}
}

// paragraphs fills lines, except indented ones.
func paragraphs(out *strings.Builder, lines []string) {
	var table []string
	flush := func() {
		if len(table) > 0 {
			asItStands(out, table)
			table = nil
		}
	}
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, " "):
			table = append(table, strings.TrimPrefix(line, "  "))
		case line == "":
			flush()
			out.WriteString(".PP\n")
		default:
			flush()
			out.WriteString(roffLine(line))
		}
	}
	flush()
}

// asItStands keeps line breaks.
func asItStands(out *strings.Builder, lines []string) {
	out.WriteString(".nf\n")
	for _, line := range lines {
		out.WriteString(roffLine(line))
	}
	out.WriteString(".fi\n")
}

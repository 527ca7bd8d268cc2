package setting

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// Value is a setting that can be set from text. It is also a pflag.Value.
type Value interface {
	Set(text string) error
	String() string
	Type() string
}

// Text is text without the white space around it, such as a URL or an id.
type Text string

// Set trims s.
func (t *Text) Set(s string) error {
	*t = Text(Trim(s))
	return nil
}

func (t *Text) String() string { return string(*t) }

// Type returns pflag's name for text.
func (t *Text) Type() string { return "string" }

// Path is the path of a file or directory. A flag may give it with white space around it.
type Path string

// Set takes s as it is.
func (p *Path) Set(s string) error {
	*p = Path(s)
	return nil
}

func (p *Path) String() string { return string(*p) }

// Type returns pflag's name for text, for which shells complete file names.
func (p *Path) Type() string { return "string" }

// Word is text in lower case, for words that only the vault knows.
type Word string

// Set trims s and converts it to lower case.
func (w *Word) Set(s string) error {
	*w = Word(strings.ToLower(Trim(s)))
	return nil
}

func (w *Word) String() string { return string(*w) }

// Type returns pflag's name for text.
func (w *Word) Type() string { return "string" }

// Choice is one of a few words.
type Choice struct {
	To    *string
	Words []string
}

// Set accepts the words in any case.
func (c *Choice) Set(s string) error {
	word, err := Among(s, c.Words)
	if err != nil {
		return errors.New(err.Error() + nearest.OrMeant(nearest.Word(s, c.Words)))
	}
	*c.To = word
	return nil
}

func (c *Choice) String() string {
	if c.To == nil { // pflag compares defaults with a zero Choice
		return ""
	}
	return *c.To
}

// Type returns "choice".
func (c *Choice) Type() string { return "choice" }

// Bool is true or false.
type Bool bool

// Set accepts what ParseBool does.
func (b *Bool) Set(s string) error {
	on, err := ParseBool(s)
	if err == nil {
		*b = Bool(on)
	}
	return err
}

func (b *Bool) String() string { return strconv.FormatBool(bool(*b)) }

// Type returns pflag's name for a flag without a value.
func (b *Bool) Type() string { return "bool" }

// Duration is a length of time, zero or more.
type Duration time.Duration

// Set accepts what time.ParseDuration does.
func (d *Duration) Set(s string) error {
	got, err := time.ParseDuration(Trim(s))
	if err != nil || got < 0 {
		return errors.New("want a length of time such as 500ms, 10s or 2m")
	}
	*d = Duration(got)
	return nil
}

func (d *Duration) String() string { return time.Duration(*d).String() }

// Type returns pflag's name for durations.
func (d *Duration) Type() string { return "duration" }

// List is a list of words.
type List []string

// Set adds words that are separated by commas.
func (l *List) Set(s string) error {
	words, err := ParseList(s)
	*l = append(*l, words...)
	return err
}

func (l *List) String() string { return strings.Join(*l, ",") }

// Type returns "list".
func (l *List) Type() string { return "list" }

// Mode is the permissions of a file.
type Mode fs.FileMode

// Set accepts octal digits.
func (m *Mode) Set(s string) error {
	bits, err := strconv.ParseUint(Trim(s), 8, 12)
	if err != nil || bits == 0 {
		return errors.New("want permissions in octal digits, such as 0600 or 0640")
	}
	*m = Mode(bits)
	return nil
}

func (m *Mode) String() string { return fmt.Sprintf("%#o", uint32(*m)) }

// Type returns "mode".
func (m *Mode) Type() string { return "mode" }

// Prefix is what the name of a variable can begin with, or nothing.
type Prefix string

// Set accepts letters, digits and _, with no digit first.
func (p *Prefix) Set(s string) error {
	s = Trim(s)
	for i, c := range []byte(s) {
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && i > 0:
		default:
			return errors.New("want letters, digits and _, no digit first")
		}
	}
	*p = Prefix(s)
	return nil
}

func (p *Prefix) String() string { return string(*p) }

// Type returns "prefix".
func (p *Prefix) Type() string { return "prefix" }

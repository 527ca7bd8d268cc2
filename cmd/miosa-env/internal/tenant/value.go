package tenant

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// valueFlags are the flags for the source of a value. It never comes from the command line itself.
type valueFlags struct {
	file        string
	keepNewline bool
	allowEmpty  bool
	generate    int
}

func (v *valueFlags) addFlags(f *pflag.FlagSet) {
	f.StringVar(&v.file, "value-file", "", "`FILE` contains the value (default: standard input, or a prompt)")
	f.Var(lengthValue(&v.generate), "generate", "`LENGTH` create a random value of 43 letters and digits (256 bits), or this many, without showing it")
	f.Lookup("generate").NoOptDefVal = generateDefault
	f.BoolVar(&v.keepNewline, "keep-newline", false, "keep a line end (LF or CRLF) at the end of the value")
	f.BoolVar(&v.allowEmpty, "allow-empty", false, "accept an empty value")
}

// valueHelp is the part of a command's help about these flags.
const valueHelp = `The value comes from --value-file, or from standard input; on a terminal, a prompt asks for it without
echo. It is never an argument, which everybody on this machine could read and the shell's history
would keep. --generate creates a random one of letters and digits (A-Z, a-z, 0-9), and does not print
it. One line end (LF or CRLF) at the end of the value is dropped unless --keep-newline is set.`

// oneSecret accepts exactly one argument. Further ones may be a value, so they are wiped and not repeated.
func oneSecret(what string) func([]string) error {
	return func(args []string) error {
		if len(args) > 1 {
			return RefusedValue(args[1:]...)
		}
		return oneArgument(what)(args)
	}
}

// RefusedValue returns the error for a value on the command line, and wipes it there if possible.
func RefusedValue(values ...string) error {
	for _, value := range values {
		_ = environ.Scrub(api.Key{Value: api.NewValue([]byte(value))})
	}
	return cli.WithHint(
		errors.New("a value isn't taken from the command line, where everybody on this machine can read it"),
		"leave it out to be asked for it, pipe it in, or give --value-file FILE")
}

// readValue returns the value of a secret, which a prompt calls name.
func readValue(p *program.Program, f valueFlags, name string) (v api.Value, err error) {
	switch {
	case f.generate > 0 && (f.file != "" || f.keepNewline || f.allowEmpty):
		return v, cli.Usage(errors.New("--generate goes with no other flag about the value"), "leave --value-file, --keep-newline and --allow-empty out")
	case f.generate > 0:
		return generateValue(f.generate), nil
	case f.file != "":
		file, openErr := os.Open(f.file)
		if openErr != nil {
			return v, cli.Unreadable("value file", f.file, openErr)
		}
		defer func() { _ = file.Close() }()
		v, err = readWhole(file, "value file "+f.file, f.keepNewline)
	default:
		if t, ok := program.TerminalOf(p.Stdin); ok {
			v, err = askHidden(p, t, "Value of "+name+" (not shown): ")
		} else {
			v, err = readWhole(p.Stdin, "standard input", f.keepNewline)
		}
	}
	if err == nil && v.Len() == 0 && !f.allowEmpty {
		err = cli.WithHint(errors.New("the value is empty"), "if that is meant, add --allow-empty")
	}
	return v, err
}

// readWhole reads a value up to the end of r, or refuses it if it is too long.
func readWhole(r io.Reader, from string, keepNewline bool) (api.Value, error) {
	text := make([]byte, api.MaxValueBytes+2) // allocated once: growing it would leave copies in memory
	n, err := io.ReadFull(r, text)
	switch {
	case err == nil:
		clear(text)
		return api.Value{}, cli.WithHint(fmt.Errorf("%s: longer than %d bytes, the most a value may have", from, api.MaxValueBytes), "store it in pieces, or where it can be fetched from")
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		clear(text)
		return api.Value{}, fmt.Errorf("%s: %w", from, cause.Of(err))
	}
	text = text[:n]
	if !keepNewline {
		if cut := bytes.TrimSuffix(text, []byte("\n")); len(cut) < n {
			text = bytes.TrimSuffix(cut, []byte("\r"))
		}
	}
	return api.NewValue(text), nil
}

// Generated values have 43 of 62 characters by default, which are 256 bits.
const (
	generateAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	generateDefault  = "43"
	generateLeast    = 16
	generateMost     = 4096
)

// lengthValue is the length of a generated value.
func lengthValue(to *int) *setting.Value {
	return setting.Of("length", to, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < generateLeast || n > generateMost {
			return 0, errors.New("want a length from " + strconv.Itoa(generateLeast) + " to " + strconv.Itoa(generateMost) + " characters")
		}
		return n, nil
	}, func(int) string { return "" })
}

// generateValue returns random letters and digits, all equally likely.
func generateValue(length int) api.Value {
	const n = len(generateAlphabet)
	const fair = 256 / n * n // higher bytes would make the first letters more likely
	text := make([]byte, 0, length)
	random := make([]byte, 64)
	defer clear(random)
	for {
		_, _ = rand.Read(random) // never fails
		for _, b := range random {
			if len(text) == length {
				return api.NewValue(text)
			}
			if int(b) < fair {
				text = append(text, generateAlphabet[int(b)%n])
			}
		}
	}
}

package tenant

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject"
	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// valueFlags say where a secret's value comes from: never from the command line itself.
type valueFlags struct {
	file        string
	keepNewline bool
	allowEmpty  bool
	generate    generated
}

func (v *valueFlags) addFlags(f *pflag.FlagSet) {
	f.StringVar(&v.file, "value-file", "", "`FILE` holds the value; without it, standard input does, or you are asked for it")
	f.Var(&v.generate, "generate", "`LENGTH` make a random value of 43 letters and digits (256 bits), or this many, without showing it")
	f.Lookup("generate").NoOptDefVal = generateDefault
	f.BoolVar(&v.keepNewline, "keep-newline", false, "keep a line end, LF or CRLF, that ends the file or standard input; one is dropped otherwise")
	f.BoolVar(&v.allowEmpty, "allow-empty", false, "accept an empty value")
}

// valueHelp is the part of a command's help that is about the value.
const valueHelp = `The value comes from --value-file, or from standard input, or, where that is a terminal, from what
you type at a prompt that doesn't show it. It isn't taken from the command line, where everybody on
this machine can read it and the shell's history keeps it. --generate makes one of letters and digits
(A-Z, a-z, 0-9) from the system's random numbers, and prints it nowhere. Every byte of it is kept, but for one line
end (LF or CRLF) at the end, which is dropped unless --keep-newline is given.`

// oneSecret lets through exactly the secret that is meant. Whatever follows may well be its value, so it is
// wiped from our arguments and not repeated.
func oneSecret(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return errors.New(what + " is missing")
		case 1:
			return nil
		}
		return RefusedValue(args[1:]...)
	}
}

// RefusedValue wipes words from our arguments, as far as that goes: it is an error anyway.
func RefusedValue(words ...string) error {
	for _, word := range words {
		_ = inject.Scrub(api.Key{Value: api.NewValue([]byte(word))})
	}
	return cli.WithHint(
		errors.New("a value isn't taken from the command line, where everybody on this machine can read it"),
		"leave it out to be asked for it, pipe it in, or give --value-file FILE")
}

// value gets the value of what, which a prompt names.
func inputValue(p *program.Program, f valueFlags, what string) (api.Value, error) {
	switch {
	case f.generate > 0 && (f.file != "" || f.keepNewline || f.allowEmpty):
		return api.Value{}, cli.Usage(errors.New("--generate goes with no other flag about the value"), "leave --value-file, --keep-newline and --allow-empty out")
	case f.generate > 0:
		return f.generate.value(), nil
	}
	v, err := anyValue(p, f, what)
	if err == nil && v.Len() == 0 && !f.allowEmpty {
		return v, cli.WithHint(errors.New("the value is empty"), "if that is meant, add --allow-empty")
	}
	return v, err
}

func anyValue(p *program.Program, f valueFlags, what string) (api.Value, error) {
	if f.file != "" {
		file, err := os.Open(f.file)
		if err != nil {
			return api.Value{}, valueFileError(f.file, err)
		}
		defer func() { _ = file.Close() }()
		return readValue(file, "value file "+f.file, f.keepNewline)
	}
	if t, ok := program.TerminalOf(p.Stdin); ok {
		return askHidden(p, t, "Value of "+what+" (not shown): ")
	}
	return readValue(p.Stdin, "standard input", f.keepNewline)
}

// readValue reads all of r. Too much of it is refused before it is read.
func readValue(r io.Reader, from string, keepNewline bool) (api.Value, error) {
	text := make([]byte, api.MaxValueBytes+2) // one array: a growing one would leave copies behind
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

func valueFileError(path string, err error) error {
	return cli.WithHint(fmt.Errorf("value file %s: %w", path, cause.Of(err)), "check the path, and that this user may read it; a relative one starts at the working directory")
}

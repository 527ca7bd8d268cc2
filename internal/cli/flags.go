package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// boolean is a boolean flag that accepts what setting.ParseBool does.
type boolean struct{ pflag.Value }

func (b boolean) Set(s string) error {
	on, err := setting.ParseBool(s)
	if err != nil {
		return err
	}
	return b.Value.Set(strconv.FormatBool(on))
}

// acceptBooleans makes boolean flags accept what setting.ParseBool does.
func acceptBooleans(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if _, ours := f.Value.(*setting.Value); !ours && f.Value.Type() == "bool" {
			f.Value = boolean{f.Value}
		}
	})
}

// flagError rewords an error of pflag, and suggests a flag for an unknown one. It returns other errors unchanged.
func (a *App) flagError(inv *Invocation, err error) error {
	if a.FlagError != nil {
		if better := a.FlagError(err); better != nil {
			return better
		}
	}
	var (
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
		unknown *pflag.NotExistError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &value):
		return wrongValue(value)
	case errors.As(err, &missing):
		f := missing.GetFlag()
		argument, _ := pflag.UnquoteUsage(f)
		return fmt.Errorf("--%s needs a value: --%[1]s %s", f.Name, argument)
	case errors.As(err, &syntax):
		return fmt.Errorf("%q isn't a flag: want --NAME or --NAME=VALUE", syntax.GetSpecifiedFlag())
	case !errors.As(err, &unknown):
		return err
	}
	shorts := unknown.GetSpecifiedShortnames()
	if shorts != "" {
		err = fmt.Errorf("unknown flag: -%s", shorts)
	}
	// A single dash takes letters as short flags: -only is -o -n -l -y.
	typed := strings.TrimLeft(cmp.Or(shorts, unknown.GetSpecifiedName()), "-")
	if now := inv.command.Renamed[typed]; now != "" {
		return WithHint(err, "use "+now)
	}
	var names []string
	inv.Flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if word := nearest.Word(typed, names); word != "" {
		return WithHint(err, "did you mean --"+word+"? "+inv.see())
	}
	return err
}

// wrongValue returns an error with the flag's name, its value, and what is expected.
func wrongValue(e *pflag.InvalidValueError) error {
	f := e.GetFlag()
	want := e.Unwrap()
	switch f.Value.Type() {
	case "bool":
		want = setting.ErrBool
	case "int":
		want = errors.New("want a whole number")
	case "float64":
		want = errors.New("want a number")
	case "duration":
		want = errors.New("want a length of time such as 500ms, 10s or 2m")
	}
	return fmt.Errorf("--%s %s: %w", f.Name, Quote(e.GetValue()), want)
}

package main

import (
	"io"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// logFlags configure the log on stderr.
type logFlags struct{ level, format string }

func (f *logFlags) add(flags *pflag.FlagSet, level string) {
	flags.StringVar(&f.level, "log-level", level, "`LEVEL` what is logged on standard error: trace, debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "text", "`FORMAT` how it is logged: text or json")
}

func (f *logFlags) open(w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(setting.Trim(f.level)) // in any case
	if err != nil || f.level == "" {
		return zerolog.Nop(), usage("unknown log level", "--log-level is trace, debug, info, warn or error")
	}
	switch strings.ToLower(setting.Trim(f.format)) {
	case "text":
		w = zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: "2006-01-02T15:04:05.000Z07:00"}
	case "json":
	default:
		return zerolog.Nop(), usage("unknown log format", "--log-format is text or json")
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

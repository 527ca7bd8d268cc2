package main

import (
	"io"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/logger"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// logFlags configure the log on stderr.
type logFlags struct{ level, format string }

func (f *logFlags) add(flags *pflag.FlagSet, level string) {
	flags.StringVar(&f.level, "log-level", level, "`LEVEL` what is logged on standard error: trace, debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "text", "`FORMAT` how it is logged: text or json")
}

// open returns a logger to w. Its lines are written on a goroutine, since a reader of the log that doesn't read mustn't hold up requests;
// flush, before the program ends, waits a moment for those that are left.
func (f *logFlags) open(w io.Writer) (log zerolog.Logger, flush func(), err error) {
	text := setting.Trim(f.level)
	level, err := zerolog.ParseLevel(text) // in any case
	if err != nil || text == "" {
		return zerolog.Nop(), nil, usage("unknown log level", "--log-level is trace, debug, info, warn or error")
	}
	w = cli.Redacted{To: w}
	switch strings.ToLower(setting.Trim(f.format)) {
	case "text":
		w = zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: "2006-01-02T15:04:05.000Z07:00"}
	case "json":
	default:
		return zerolog.Nop(), nil, usage("unknown log format", "--log-format is text or json")
	}
	var tap logger.Tap
	tap.SetWriter(w, level)
	lines := logger.NewQueue(&tap)
	return lines.Logger().Level(level), lines.Flush, nil
}

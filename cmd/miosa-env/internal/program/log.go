package program

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// NewLogger logs to w, as text for people or as JSON with the time in it.
func NewLogger(w io.Writer, level, format string) zerolog.Logger {
	log := zerolog.New(logForm(w, format)).Level(logLevel(level))
	if format == "json" {
		return log.With().Timestamp().Logger()
	}
	return log
}

func logLevel(level string) zerolog.Level {
	if level == "off" {
		return zerolog.Disabled
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.InfoLevel
	}
	return parsed
}

// logForm turns zerolog's lines into what format says.
func logForm(w io.Writer, format string) io.Writer {
	if format == "json" {
		return w
	}
	return zerolog.ConsoleWriter{
		Out:           w,
		NoColor:       true,
		PartsOrder:    []string{zerolog.LevelFieldName, zerolog.MessageFieldName},
		FormatLevel:   func(level any) string { return fmt.Sprintf("miosa-env: %v:", level) },
		FormatMessage: func(message any) string { return fmt.Sprint(message) },
		FormatPrepare: sayChanges,
	}
}

// changesField holds an api.Changes.
const changesField = "changes"

// sayChanges puts changes into the message, as a sentence: "restarting command: GH_TOKEN changed to version 3".
func sayChanges(event map[string]any) error {
	changes, ok := event[changesField].(map[string]any)
	if !ok {
		return nil
	}
	delete(event, changesField)
	var said []string
	for _, kind := range []struct{ name, verb, to string }{
		{"added", "added", " at version "}, {"changed", "changed", " to version "}, {"removed", "removed", ""},
	} {
		list, _ := changes[kind.name].([]any)
		for _, one := range list {
			variable, _ := one.(map[string]any)
			text := cli.OneLine(fmt.Sprint(variable["name"])) + " " + kind.verb
			if version := variable["version"]; version != nil {
				text += kind.to + fmt.Sprint(version)
			}
			said = append(said, text)
		}
	}
	if len(said) > 0 {
		event[zerolog.MessageFieldName] = fmt.Sprint(event[zerolog.MessageFieldName]) + ": " + strings.Join(said, ", ")
	}
	return nil
}

// LogTap is where the log of a daemon goes, whose level and form can change while loggers are in use.
type LogTap struct{ now atomic.Pointer[logWay] }

type logWay struct {
	level zerolog.Level
	to    io.Writer
}

// Set makes the log go to w from now on.
func (t *LogTap) Set(w io.Writer, level, format string) {
	t.now.Store(&logWay{logLevel(level), logForm(w, format)})
}

// Logger returns a logger whose level and form are those of the tap.
func (t *LogTap) Logger() zerolog.Logger { return zerolog.New(t).With().Timestamp().Logger() }

// Write takes a line of no level.
func (t *LogTap) Write(line []byte) (int, error) { return t.now.Load().to.Write(line) }

// WriteLevel takes a line.
func (t *LogTap) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if way := t.now.Load(); level >= way.level {
		return way.to.Write(line)
	}
	return len(line), nil
}

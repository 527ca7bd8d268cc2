// Package logger makes the loggers of programs: their levels, and their forms as text and JSON.
package logger

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/option"
)

// New returns a logger of a program to w, as text or as JSON with times.
func New(w io.Writer, program, level, format string) zerolog.Logger {
	log := zerolog.New(form(w, program, format)).Level(levelOf(level))
	if format == "json" {
		return log.With().Timestamp().Logger()
	}
	return log
}

// Problem adds an error of a configuration to a line of the log: the error, its hint, and its file and line, if it has them.
func Problem(line *zerolog.Event, problem error) *zerolog.Event {
	if hint := cli.Hint(problem); hint != "" {
		line = line.Str("hint", cli.OneLine(hint))
	}
	if at, ok := errors.AsType[*option.Error](problem); ok {
		line = line.Str("file", at.File).Int("line", at.Line)
		problem = at.Err
	}
	return line.Err(problem)
}

func levelOf(level string) zerolog.Level {
	if level == "off" {
		return zerolog.Disabled
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.InfoLevel
	}
	return parsed
}

// form returns a writer that converts zerolog's lines to a format.
func form(w io.Writer, program, format string) io.Writer {
	if format == "json" {
		return w
	}
	return zerolog.ConsoleWriter{
		Out:           w,
		NoColor:       true,
		PartsOrder:    []string{zerolog.LevelFieldName, zerolog.MessageFieldName},
		FormatLevel:   func(level any) string { return fmt.Sprintf("%s: %v:", program, level) },
		FormatMessage: func(message any) string { return fmt.Sprint(message) },
		FormatPrepare: sayChanges,
	}
}

// sayChanges adds the field changes, an api.Changes, to the message: "restarting command: GH_TOKEN changed to version 3".
func sayChanges(event map[string]any) error {
	changes, ok := event["changes"].(map[string]any)
	if !ok {
		return nil
	}
	delete(event, "changes")
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

// Tap is the writer of a daemon's loggers. Its level and format can change while they are in use.
type Tap struct{ now atomic.Pointer[output] }

type output struct {
	level zerolog.Level
	to    io.Writer
}

// Set changes where the log of a program goes, and how.
func (t *Tap) Set(w io.Writer, program, level, format string) {
	t.now.Store(&output{levelOf(level), form(w, program, format)})
}

// SetWriter changes where lines of a level and above go: to w, which gives them their form.
func (t *Tap) SetWriter(w io.Writer, level zerolog.Level) { t.now.Store(&output{level, w}) }

// Logger returns a logger that writes to the tap.
func (t *Tap) Logger() zerolog.Logger { return zerolog.New(t).With().Timestamp().Logger() }

// Write writes a line without a level.
func (t *Tap) Write(line []byte) (int, error) { return t.now.Load().to.Write(line) }

// WriteLevel writes a line if its level is logged.
func (t *Tap) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if !t.logs(level) {
		return len(line), nil
	}
	return t.Write(line)
}

func (t *Tap) logs(level zerolog.Level) bool { return level >= t.now.Load().level }

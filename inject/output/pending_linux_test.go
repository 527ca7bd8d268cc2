package output_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// TestOutputHookPending checks that a hook that was interrupted is run once by the next Output that finds the set in
// place, and that Remove cancels it.
func TestOutputHookPending(t *testing.T) {
	for format, mark := range map[string]string{"shell": "/.out.miosa-owed", "files": "/out/..hook.miosa-owed"} {
		t.Run(format, func(t *testing.T) {
			dir := inMemory(t)
			with := func(hook string) (*output.Output, *logged) {
				log := &logged{}
				return newOutput(t, format, dir+"/out", func(c *output.Config) { c.Log, c.Hook = zerolog.New(log), hook }), log
			}
			owed := func() bool { _, err := os.Lstat(dir + mark); return err == nil }

			o, log := with("echo begun; exec sleep 1000")
			write(t, o, "A", "1")
			poll.Until(t, 10*time.Second, "the hook", func() bool { return strings.Contains(log.String(), "begun") })
			if !owed() {
				t.Error("nothing says that a hook is owed")
			}
			o.Close()
			o, log = with("true")
			write(t, o, "A", "1")
			log.done(t, 1, "hook done")
			poll.Until(t, 10*time.Second, "nothing is owed", func() bool { return !owed() })
			if strings.Contains(log.String(), "output written") {
				t.Error("it was written again")
			}
			o, log = with("true") // and no more than that
			write(t, o, "A", "1")
			write(t, o, "A", "2")
			log.done(t, 1, "hook done")
			o.Close()

			o, log = with("echo begun; exec sleep 1000")
			write(t, o, "A", "3")
			poll.Until(t, 10*time.Second, "the hook", func() bool { return strings.Contains(log.String(), "begun") })
			o.Close()
			if err := o.Remove(); err != nil || owed() {
				t.Errorf("something is owed for what isn't there: %v", err)
			}
		})
	}
}

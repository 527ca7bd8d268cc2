package main

import (
	"bytes"
	"strings"
	"testing"
)

// What looks like a key isn't logged, also as a part of a path.
func TestLog_Redacted(t *testing.T) {
	const key = "msk_u_abcdefghijklmnopqrstuvwxyz"
	for _, format := range []string{"text", "JSON"} {
		var out bytes.Buffer
		log, flush, err := (&logFlags{level: "INFO", format: format}).open(&out)
		if err != nil {
			t.Fatal(err)
		}
		log.Info().Str("data_dir", "/srv/"+key).Msg("created")
		flush()
		if text := out.String(); strings.Contains(text, key) || !strings.Contains(text, "/srv/msk_") {
			t.Errorf("%s: %s", format, text)
		}
	}
}

func TestLog_Refused(t *testing.T) {
	for _, f := range []logFlags{{"", "text"}, {" ", "text"}, {"loud", "text"}, {"info", "xml"}, {"info", ""}} {
		if _, _, err := f.open(nil); err == nil {
			t.Errorf("level %q and format %q are accepted", f.level, f.format)
		}
	}
}

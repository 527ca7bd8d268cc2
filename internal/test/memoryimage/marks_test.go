package memoryimage

import (
	"encoding/base64"
	"encoding/hex"
	"testing"
)

func TestMarksInEveryForm(t *testing.T) {
	m := NewMarks()
	value := m.Value(7, 30, "x")
	wide := ""
	for i := range len(value) {
		wide += value[i:i+1] + "\x00"
	}
	for name, text := range map[string]string{
		"plain": value, "its end": value[len(value)-len(m.Text)-4:], "hex": hex.EncodeToString([]byte(value)), "wide": wide,
		"base64":         base64.StdEncoding.EncodeToString([]byte(value)),
		"base64, 1 more": base64.RawURLEncoding.EncodeToString([]byte("." + value)),
		"base64, 2 more": base64.RawStdEncoding.EncodeToString([]byte(".." + value)),
	} {
		if m.Find([]byte("before "+text+" after")) == nil {
			t.Errorf("%s is not found", name)
		}
	}
	if m.Find([]byte(NewMarks().Value(7, 30, "x"))) != nil {
		t.Error("found in a text without marks")
	}
}

package vault

import (
	"encoding/json"
	"testing"
)

// A plaintext is decoded as encoding/json decodes a string.
func FuzzPlaintext(f *testing.F) {
	for _, seed := range []string{
		`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"é\u00e9\u0000\uFFFF"`, `"\ud83d\ude00 \uD83D\uDE00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83dx"`, `"\u12"`, "\"\x80\"", `1`, `null`, `{"a":[]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want string
		var got plaintext
		if scanJSON([]byte(text)) != nil || text == "null" || json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Reveal() != want {
			t.Errorf("%s: %q, want %q: %v", text, got.Reveal(), want, err)
		}
	})
}

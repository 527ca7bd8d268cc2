package envfile_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/envfile"
)

// BenchmarkParse reads 100 variables, beside the reader that was there before.
func BenchmarkParse(b *testing.B) {
	var text []byte
	for i := range 25 {
		text = fmt.Appendf(text, "A%[1]d=value # note\nexport B%[1]d='a value in quotes'\n# a comment\nC%[1]d=\"line one\\nline \\\"two\\\".\"\n\nD%[1]d=postgres://user@host/db?a=b\n", i)
	}
	b.Run("envfile", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := envfile.Parse(bytes.Clone(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("godotenv", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := godotenv.UnmarshalBytes(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

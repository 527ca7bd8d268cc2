package dotenv_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/joho/godotenv"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
)

// BenchmarkParse reads 100 variables with Parse and with godotenv.
func BenchmarkParse(b *testing.B) {
	var text []byte
	for i := range 25 {
		text = fmt.Appendf(text, "A%[1]d=value # note\nexport B%[1]d='a value in quotes'\n# a comment\nC%[1]d=\"line one\\nline \\\"two\\\".\"\n\nD%[1]d=postgres://user@host/db?a=b\n", i)
	}
	b.Run("dotenv", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := dotenv.Parse(bytes.Clone(text)); err != nil {
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

// BenchmarkObject reads a JSON object of 10,000 members, on one line each and on a single line.
func BenchmarkObject(b *testing.B) {
	for _, tt := range []struct{ name, between string }{{"lines", ",\n"}, {"one line", ","}} {
		text := objectOf(10_000, tt.between)
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := dotenv.Parse(bytes.Clone(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// objectOf returns a JSON object with the given number of members, separated by a text.
func objectOf(members int, between string) []byte {
	text := []byte(`{"A":"1"`)
	for i := range members - 1 {
		text = fmt.Appendf(text, `%s"A%d":"1"`, between, i)
	}
	return append(text, '}')
}

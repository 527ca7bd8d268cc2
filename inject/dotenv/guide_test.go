package dotenv_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
)

// rowsOf returns the cells of the table under a heading of docs/env-files.md, without its header.
func rowsOf(t *testing.T, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/env-files.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("no heading %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for _, line := range regexp.MustCompile(`(?m)^\| (.*) \|$`).FindAllStringSubmatch(section, -1) {
		cells := strings.Split(line[1], "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) < 5 {
		t.Fatalf("%s: %d rows", heading, len(rows))
	}
	return rows[1:] // the expression doesn't match |---|
}

// code returns the text of a code span.
func code(cell string) string {
	return strings.TrimSuffix(strings.Trim(cell, "`"), "` ")
}

func TestGuideExamples(t *testing.T) {
	for _, row := range rowsOf(t, "Examples") {
		line, want := code(row[0]), code(row[1])
		if want == "empty" {
			want = ""
		}
		list, err := dotenv.Parse([]byte(line + "\nZ=1\n"))
		if err != nil || len(list) != 2 || list[0].Value.Reveal() != want {
			t.Errorf("%s: got %v, %v, want %q", line, valuesOf(list), err, want)
		}
	}
	for _, row := range rowsOf(t, "Errors") {
		line, want := code(row[0]), row[1]
		if strings.Count(line, "`") == 1 {
			line += "`" // code has removed it
		}
		_, err := dotenv.Parse([]byte(line + "\n"))
		var e *dotenv.Error
		if !errors.As(err, &e) || e.Reason != want {
			t.Errorf("%s: got error %v, want %s", line, err, want)
		}
	}
}

func TestGuideListsEachDifference(t *testing.T) {
	var got []string
	for _, row := range rowsOf(t, "Other programs") {
		for i, reader := range readers {
			if row[2+i] == "yes" {
				got = append(got, reader.name+": "+row[0])
			}
		}
	}
	for _, rule := range dotenv.Rules() {
		if !slices.Contains(got, rule) {
			t.Errorf("the table has no row for: %s", rule)
		}
	}
	if len(got) != len(dotenv.Rules()) {
		t.Errorf("the table has %d entries, there are %d rules", len(got), len(dotenv.Rules()))
	}
}

// TestSingleQuotesAreReadAlike checks that all readers read the lines that the guide calls unambiguous the same.
func TestSingleQuotesAreReadAlike(t *testing.T) {
	for _, value := range []string{"", " x ", `say "hi"`, "$2y$10$abcdefghij", "a # b", `C:\dir`, "`x`", "a\nB=2\n", "\u00a0x\u2028", `\n\t\"`, "~", "#"} {
		list, err := dotenv.Parse([]byte("A_1='" + value + "' # note\n"))
		if err != nil || list[0].Value.Reveal() != value {
			t.Fatalf("%q: %v", value, err)
		}
		if d := dotenv.Differences(&list[0]); len(d) > 0 {
			t.Errorf("%q: %v", value, d)
		}
	}
}

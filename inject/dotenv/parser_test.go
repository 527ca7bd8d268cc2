package dotenv_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/inject/dotenv"
)

// valuesOf returns the values of variables by name.
func valuesOf(list []dotenv.Variable) map[string]string {
	got := map[string]string{}
	for _, v := range list {
		got[v.Name] = v.Value.Reveal()
	}
	return got
}

type vars = map[string]string

func TestParse(t *testing.T) {
	t.Setenv("OUTSIDE", "never read")
	for _, tt := range []struct {
		name, text string
		want       vars
	}{
		{"empty", "", vars{}},
		{"only a byte order mark", "\ufeff", vars{}},
		{"comments and empty lines", "\n# a comment\n\n  # another\n\t\r\nA=1\n#", vars{"A": "1"}},
		{"a quote in a comment", "# it's\nA=1 # it's\nB='2'\t# it\"s\n", vars{"A": "1", "B": "2"}},
		{"no line end", "A=1", vars{"A": "1"}},
		{"an = in a value", "A==\nB=k=v\nC='='\n", vars{"A": "=", "B": "k=v", "C": "="}},
		{"numbers are text", "A=007\nB=+5\nC=1e3\n", vars{"A": "007", "B": "+5", "C": "1e3"}},
		{"the last assignment counts", "A=1\nB=2\nA=3\n", vars{"A": "3", "B": "2"}},
		{"the last assignment is empty", "A=1\nA=\n", vars{"A": ""}},

		{"names", "a.b=1\nA-B=2\n_=3\n2FA=4\nx=5\n", vars{"a.b": "1", "A-B": "2", "_": "3", "2FA": "4", "x": "5"}},
		{"export", "export A=1\n\texport\t B=2\nexport C= 3\n", vars{"A": "1", "B": "2", "C": "3"}},
		{"a variable named export", "export=1\nexported=2\n", vars{"export": "1", "exported": "2"}},
		{"a variable named export, with a space", "export = 1\n", vars{"export": "1"}},
		{"white space around", "  A =  x y \nB\t=\t'z'\t\n", vars{"A": "x y", "B": "z"}},

		{"empty values", "A=\nB=''\nC=\"\"\nD= \nE= # note\nF=\t# note\nG='' # note\n", vars{"A": "", "B": "", "C": "", "D": "", "E": "", "F": "", "G": ""}},
		{"comments", "A=8080  # see issue #42\nB=a#b\nC=#b\nD=a\t# b\nE=a# b\nF=a #\n", vars{"A": "8080", "B": "a#b", "C": "#b", "D": "a", "E": "a# b", "F": "a"}},
		{"comments after quotes", "A=\"a # b\" # c\nB='a # b'\t#c\nC=\"#\" #\"\n", vars{"A": "a # b", "B": "a # b", "C": "#"}},
		{"white space other than blanks is kept", "A=\u00a0x\u00a0\nB=x\u00a0#y\nC=x\v\n", vars{"A": "\u00a0x\u00a0", "B": "x\u00a0#y", "C": "x\v"}},

		{"no escapes without quotes", `A=C:\new\table` + "\n" + `B=x\` + "\n" + `C=\$B` + "\n" + `D=a\ b` + "\n", vars{"A": `C:\new\table`, "B": `x\`, "C": `\$B`, "D": `a\ b`}},
		{"quotes inside", "A=it's\nB=a\"b c\"\nC={\"k\":\"it's\"}\nD=x`y`\nE=a'b # c'\n", vars{"A": "it's", "B": `a"b c"`, "C": `{"k":"it's"}`, "D": "x`y`", "E": "a'b"}},
		{"no expansion", "A=1\nB=$A-${A}-$OUTSIDE\nC=\"$A\"\nD='$A'\n", vars{"A": "1", "B": "$A-${A}-$OUTSIDE", "C": "$A", "D": "$A"}},
		{"text that looks like an expansion", "H=$2y$10$abcdefghij\nA=Pa$Sword\nB=$(HOSTNAME)\nC=${NONE:-def}\nD=$$\nE=$\nF=\"$2y$10$abcdefghij\"\nG=\"$$ $(x) ${NONE:-def}\"\n",
			vars{"H": "$2y$10$abcdefghij", "A": "Pa$Sword", "B": "$(HOSTNAME)", "C": "${NONE:-def}", "D": "$$", "E": "$", "F": "$2y$10$abcdefghij", "G": "$$ $(x) ${NONE:-def}"}},

		{"escapes", `A="a\nb\rc\td"` + "\n" + `B="\\ \" \$ \` + "`\"\n" + `C="\d\x41\u0041\0\'\a"` + "\n", vars{"A": "a\nb\rc\td", "B": "\\ \" $ `", "C": `\d\x41\u0041\0\'\a`}},
		{"a quote at the end", `A="say \"hi\""` + "\nN=1\n", vars{"A": `say "hi"`, "N": "1"}},
		{"a backslash at the end", `A="x\\"` + "\nN=1\n", vars{"A": `x\`, "N": "1"}},
		{"an escaped backslash and more", `A="\\n\\\"\\\\n"` + "\n", vars{"A": `\n\"\\n`}},
		{"single quotes escape nothing", `A='x $B \n \\ "q"'` + "\n", vars{"A": `x $B \n \\ "q"`}},
		{"single quotes and a backslash", `A='C:\dir\'` + "\nN=1\n" + `B='C:\dir\\'` + "\n", vars{"A": `C:\dir\`, "N": "1", "B": `C:\dir\\`}},
		{"several lines", "A='x\nB=2\n\n# y'\nC=\"x\nD=3\n\\\"y\\\n\" # z\n", vars{"A": "x\nB=2\n\n# y", "C": "x\nD=3\n\"y\\\n"}},

		{"byte order mark", "\ufeffA=1\n", vars{"A": "1"}},
		{"byte order mark in a value", "A='\ufeff'\nB=\ufeff\n", vars{"A": "\ufeff", "B": "\ufeff"}},
		{"CR LF", "A=1\r\nB='x\r\ny'\r\nC=\"x\r\ny\\\r\n\" # z\r\n# z\r\nD=\r\nE= # y\r\n\r\n", vars{"A": "1", "B": "x\ny", "C": "x\ny\\\n", "D": "", "E": ""}},
		{"a lone CR in quotes", "A='x\ry'\nB=\"x\r\"\nC='\r\r\n'\n", vars{"A": "x\ry", "B": "x\r", "C": "\r\n"}},
		{"control characters", "A=\x1b[0m\nB='\x01'\n", vars{"A": "\x1b[0m", "B": "\x01"}},
		{"all of Unicode", "A=é\U0001f600\nB='\U0010ffff\ufffd'\n", vars{"A": "é\U0001f600", "B": "\U0010ffff\ufffd"}},
		{"long", "A=" + strings.Repeat("x", dotenv.MaxSize-2), vars{"A": strings.Repeat("x", dotenv.MaxSize-2)}},

		{"an object", "\ufeff \r\n{\"A\": \"1\", \"b.c\":\"x\\n\\\"\\u00e9\\ud83d\\ude00\", \"E\": \"\"}\n", vars{"A": "1", "b.c": "x\n\"é\U0001f600", "E": ""}},
		{"an object of literals", `{"N": 8080, "F": 1.50, "E": -1E+400, "T": true, "NO": false}`, vars{"N": "8080", "F": "1.50", "E": "-1E+400", "T": "true", "NO": "false"}},
		{"an object without members", "{}\n", vars{}},
		{"a backslash at a name's end", `{"A": "\\", "B": "\\\""}`, vars{"A": `\`, "B": `\"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := dotenv.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := valuesOf(list); len(got) != len(list) || !cmp.Equal(got, tt.want) {
				t.Errorf("%d variables (-got +want):\n%s", len(list), cmp.Diff(got, tt.want))
			}
		})
	}
}

func TestLines(t *testing.T) {
	list, err := dotenv.Parse([]byte("\ufeff# one\nB='x\r\ny'\r\n\r\nA=1\n  B=2\nB=3"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]int{}
	for _, v := range list {
		got[v.Name] = [2]int{v.Line}
		if v.Earlier != nil {
			got[v.Name] = [2]int{v.Line, v.Earlier.Line}
		}
	}
	if diff := cmp.Diff(got, map[string][2]int{"A": {5}, "B": {7, 6}}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestErrors checks that each error has a position and a hint, and contains nothing of the file.
func TestErrors(t *testing.T) {
	const (
		form   = "not a line of the form NAME=value"
		equals = "no = after the name"
		char   = "a character that can't be in a name"
		open   = "a quote that isn't closed"
		after  = "text after the closing quote"
		cr     = "a carriage return without a line feed"
	)
	for _, tt := range []struct {
		name, text   string
		line, column int
		reason, fix  string // fix is a part of the hint
	}{
		{"a name alone", "A=1\nCANARY\nB=2\n", 2, 7, equals, "write NAME=value"},
		{"a name alone at the end", "A=1\n  CANARY", 2, 9, equals, "write NAME=value"},
		{"a name alone, CR LF", "CANARY\r\n", 1, 7, equals, "write NAME=value"},
		{"export alone", "export CANARY\n", 1, 14, equals, "write NAME=value"},
		{"two names", "CANARY B=1\n", 1, 8, equals, "write NAME=value"},
		{"a comment after a name", "CANARY # x\n", 1, 8, equals, "write NAME=value"},
		{"a sentence", "A=1\n\nthis is canary!\nB=2\n", 3, 6, equals, "quotes"},
		{"no name", "A=1\n  =canary\n", 2, 3, "no name before =", "write NAME=value"},
		{"only =", "=", 1, 1, "no name before =", "write NAME=value"},
		{"export and no name", "export =canary\nA=1\nexport 'canary'=1\n", 3, 8, equals, "write NAME=value"},
		{"a colon", "A: canary\n", 1, 2, "a colon after the name", "write NAME=value"},
		{"a colon after a space", "A : canary\n", 1, 3, "a colon after the name", "write NAME=value"},
		{"a list", "- A=canary\n", 1, 1, form, "comments begin with #"},
		{"quotes around a name", "'CANARY'=1\n", 1, 1, form, "names begin with"},
		{"a letter that isn't ASCII", "é=canary\n", 1, 1, form, "names begin with"},
		{"a letter that isn't ASCII inside a name", "_CANARYé=1\n", 1, 8, char, "letters, digits, _"},
		{"a plus", "CANARY+=1\n", 1, 7, char, "letters, digits, _"},
		{"white space other than a blank", "\u00a0CANARY=1\n", 1, 1, form, "names begin with"},
		{"a second byte order mark", "A=1\n\ufeffCANARY=1\n", 2, 1, "a byte order mark inside the file", "remove it"},

		{"open single quote", "A=1\nB='canary\nC=2\n", 2, 3, open, "closing quote"},
		{"open double quote", "A=\"x\"\n\nB= \"canary\nC=\\\"canary\n", 3, 4, open, `\"`},
		{"an escaped quote at the end", `A="canary\"`, 1, 3, open, `\"`},
		{"a backslash at the end", `A="canary\`, 1, 3, open, `\"`},
		{"text after a quote", "A='canary'x\n", 1, 11, after, "the closing quote ends"},
		{"text after a quote and a space", "A=\"é\"  canary # x\n", 1, 8, after, "the closing quote ends"},
		{"two words in quotes", "A='canary' 'x'\n", 1, 12, after, "the closing quote ends"},
		{"as a shell escapes a quote", `A='canary'\''x'`, 1, 11, after, `\"`},
		{"a comment directly after a quote", "A='canary'#x\n", 1, 11, after, "a space before #"},
		{"a quote that is closed on a later line", "A=\"canary\nB=x\nC=\"canary\"\n", 3, 4, "text after the quote that closes the value of line 1", "the closing quote ends"},
		{"a backtick", "A= `canary`\n", 1, 4, "a value that begins with a backtick", "single quotes"},

		{"a lone CR", "A=1\nB=x\rcanary\n", 2, 4, cr, "in double quotes"},
		{"a lone CR in a comment", "# canary\rA=1\n", 1, 9, cr, "LF"},
		{"a lone CR after a quote", "A='canary'\r", 1, 11, cr, "LF"},
		{"a lone CR after a name", "CANARY\r=1", 1, 7, cr, "LF"},
		{"a lone CR at the end", "A=canary\r", 1, 9, cr, "LF"},
		{"a lone CR at the beginning", "\rA=canary", 1, 1, cr, "LF"},
		{"CR CR LF", "A=canary\r\r\n", 1, 9, cr, "LF"},
		{"NUL", "A=1\nB=can\x00ary\n", 2, 6, "a NUL byte", "UTF-16"},
		{"NUL in quotes", "A='\x00'", 1, 4, "a NUL byte", "UTF-16"},
		{"Latin-1", "A=1\nB=é\nC=canary\xe9\n", 3, 9, "a byte that isn't UTF-8", "iconv -f LATIN1"},
		{"Latin-1 in quotes and in a comment", "# \xe9\nA='canary\xe9'\n", 1, 3, "a byte that isn't UTF-8", "iconv -f LATIN1"},
		{"a surrogate in UTF-8", "A=\xed\xa0\x80\n", 1, 3, "a byte that isn't UTF-8", "save the file as UTF-8"},
		{"half a character", "A=\xc3", 1, 3, "a byte that isn't UTF-8", "save the file as UTF-8"},
		{"UTF-16", "\xff\xfeA\x00=\x001\x00", 1, 1, "UTF-16 text", "iconv -f UTF-16"},
		{"UTF-16, big endian", "\xfe\xff\x00A\x00=\x001", 1, 1, "UTF-16 text", "iconv -f UTF-16"},
		{"UTF-16 without a mark", "A\x00=\x00", 1, 2, "a NUL byte", "UTF-16"},
		{"too long", "A=" + strings.Repeat("x", dotenv.MaxSize-1), 0, 0, "longer than 8 MiB", "check the path"},

		{"half an object", "{\"A\": \"canary\",\n", 2, 1, "not JSON", "one JSON object"},
		{"an object and more", "{\"A\": \"canary\"}\ncanary", 2, 1, "not JSON", "one JSON object"},
		{"a comment in an object", "{\n  // canary\n}", 2, 3, "not JSON", "one JSON object"},
		{"a line feed in a string", "{\"A\": \"canary\n\"}", 1, 14, "not JSON", "one JSON object"},
		{"null", "{\n  \"CANARY\": null}", 2, 13, "null", `""`},
		{"an object in an object", "{\"A\": {\"CANARY\": 1}}", 1, 7, "a list or an object", "values are strings"},
		{"a list in an object", "{\"A\":  [\"canary\"]}", 1, 8, "a list or an object", "values are strings"},
		{"a list in JSON", "\n[\"canary\"]", 2, 1, "JSON that isn't an object", "write a JSON object"},
		{"a JSON list that isn't closed", `[ {"A": "canary"},`, 1, 1, "JSON that isn't an object", "write a JSON object"},
		{"a JSON string", ` "canary"`, 1, 2, "JSON that isn't an object", "write a JSON object"},
		{"JSON null", "null", 1, 1, "JSON that isn't an object", "write a JSON object"},
		{"a section", "[canary]\nA=1", 1, 1, "not a line of the form NAME=value", "names begin"},
		{"a name twice", "{\"A\": 1,\n\"B\": 2,\n \"A\": \"canary\"}", 3, 2, "the same name as in line 1", "remove one"},
		{"a name twice, escaped", `{"A": 1, "\u0041": "canary"}`, 1, 10, "the same name as in line 1", "remove one"},
		{"an empty name", `{"": "canary"}`, 1, 2, "a name that no variable can have", "letters, digits"},
		{"a name with an =", `{"A=B": "canary"}`, 1, 2, "a name that no variable can have", "letters, digits"},
		{"a name with a quote", `{"A": 1, "\"B\\\"": "canary"}`, 1, 10, "a name that no variable can have", "letters, digits"},
		{"NUL in a string", `{"A": "\u0000"}`, 1, 7, "a NUL in a value", "remove it"},
		{"half of a pair", `{"A": "x\ud83d"}`, 1, 9, "half of a surrogate pair", "both halves"},
		{"the other half", `{"A": "\\\ude00\ud83d"}`, 1, 10, "half of a surrogate pair", "both halves"},
		{"Latin-1 in an object", "{\"A\": \"\xe9\"}", 1, 8, "a byte that isn't UTF-8", "save the file as UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := dotenv.Parse([]byte(tt.text))
			var e *dotenv.Error
			if !errors.As(err, &e) || list != nil {
				t.Fatalf("got %v and %d variables, want an *Error", err, len(list))
			}
			got := dotenv.Error{Line: e.Line, Column: e.Column, Reason: e.Reason}
			if diff := cmp.Diff(got, dotenv.Error{Line: tt.line, Column: tt.column, Reason: tt.reason}); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
			if !strings.Contains(e.Hint(), tt.fix) {
				t.Errorf("hint %q doesn't contain %q", e.Hint(), tt.fix)
			}
			if strings.Contains(strings.ToLower(e.Error()+e.Hint()), "canary") {
				t.Error("the error contains text of the file")
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.env")
	if err := os.WriteFile(broken, []byte("A=1\n B='canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.env")
	for _, tt := range []struct {
		name, path, want string
		errno            syscall.Errno
	}{
		{"not there", none, "env file " + none + ": no such file or directory", syscall.ENOENT},
		{"a directory", dir, "env file " + dir + ": is a directory", syscall.EISDIR},
		{"broken", broken, "env file " + broken + " line 2 column 4: a quote that isn't closed", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dotenv.Read(tt.path)
			var e *dotenv.Error
			if !errors.As(err, &e) || e.Path != tt.path || e.Error() != tt.want || e.Hint() == "" {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if tt.errno != 0 && !errors.Is(err, tt.errno) {
				t.Errorf("%v doesn't wrap %v", err, tt.errno)
			}
		})
	}
}

// TestNothingPrintsAValue checks that no verb of package fmt prints a value or its raw text.
func TestNothingPrintsAValue(t *testing.T) {
	list, err := dotenv.Parse([]byte("A=\"canary\\n\"\nB=canary\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(verb, list); strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") || strings.Contains(text, "99 97 110") {
			t.Errorf("%s prints the value", verb)
		}
	}
	for _, v := range list {
		v.Wipe()
		if strings.Contains(v.Value.Reveal(), "canary") {
			t.Error("Wipe left the value in memory")
		}
	}
}

// FuzzParse checks that Parse returns variables that execve accepts unchanged, or an error with a position.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"A=1\n", "export ", "A='x", "A=\"\\", "A", "=", "A==", "\xef\xbb\xbf", "é=1", "A=$", "A=${", "A=\\", "a b", "#", "A:\r\n", "A='\n'B=2", "\xff=\xfe",
		"{\"A\":\"\\\"\"}", "{\"A\":\"\\ud800\"}", "{\"\\\\\":1}", "{\"A\":{}}", "{", "\ufeff{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := 1 + bytes.Count(text, []byte("\n"))
		list, err := dotenv.Parse(bytes.Clone(text))
		var e *dotenv.Error
		switch {
		case err == nil:
		case !errors.As(err, &e), e.Line < 1, e.Line > lines, e.Column < 1, e.Fix == "", strings.Contains(e.Error(), "\n"):
			t.Fatalf("error: %+v", err)
		default:
			return
		}
		last := ""
		for _, v := range list {
			if v.Name <= last || strings.ContainsAny(v.Name, "=\x00") || v.Line < 1 || v.Line > lines || v.Earlier != nil && v.Earlier.Line >= v.Line {
				t.Fatalf("variable %+v", v)
			}
			last = v.Name
			if value := v.Value.Reveal(); strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
				t.Fatalf("value %q", value)
			}
			dotenv.Differences(&v)
		}
	})
}

// TestObjectOnOneLine checks the position of an error in a long line. If lines were counted from the start for each
// member, this would take minutes.
func TestObjectOnOneLine(t *testing.T) {
	text := objectOf(100_000, ",")
	list, err := dotenv.Parse(bytes.Clone(text))
	if err != nil || len(list) != 100_000 {
		t.Errorf("%d variables, %v", len(list), err)
	}
	text[len(text)-2] = '\xff'
	var e *dotenv.Error
	if _, err := dotenv.Parse(text); !errors.As(err, &e) || e.Line != 1 || e.Column != len(text)-1 {
		t.Errorf("got %v, want line 1 column %d", err, len(text)-1)
	}
	second := append([]byte("{\n"), objectOf(1000, ",")[1:]...)
	second = append(second[:len(second)-1], ` , "A1":"x"}`...)
	if _, err := dotenv.Parse(bytes.Clone(second)); !errors.As(err, &e) || e.Line != 2 || e.Column != len(second)-2-len(`"A1":"x"}`)+1 {
		t.Errorf("got %v, want line 2 column %d", err, len(second)-10)
	}
}

# Shows how a build goes on: a count of the packages that are compiled (go build -v), what modules are downloaded, and
# everything else as it is. Its exit code is that of the last line, "status CODE". With terminal=1 the count
# stays on one line.
function cleared() { if (terminal && compiled) printf "\r\033[K" }

/^status [0-9]+$/ { code = $2; next }
/^go: downloading / { cleared(); print "  " $0; next }
/^[^ ]+$/ {
	compiled++
	if (terminal) printf "\r  compiled %d packages", compiled
	else if (compiled % 50 == 0) printf "  compiled %d packages\n", compiled
	fflush()
	next
}
{ cleared(); print "  " $0 }
END { cleared(); exit code }

complete -c lmtp-send -s H -l host -d 'Connect by TCP; repeatable: hosts are tried in order' -r
complete -c lmtp-send -s p -l port -d 'Port or service of hosts given without one [default: 24]' -r
complete -c lmtp-send -s S -l socket -d 'Connect to a Unix-domain socket' -r -F
complete -c lmtp-send -s e -l exec -d 'Run COMMAND and speak LMTP on its stdin and stdout (no shell)' -r
complete -c lmtp-send -l sink -d 'Deliver to Maildirs DIR/RECIPIENT/ by the built-in test server' -r -F
complete -c lmtp-send -l bind -d 'Connect from this source address' -r
complete -c lmtp-send -s f -l from -d 'Sender; \'\' or \'<>\' is the null sender [default: from the headers]' -r
complete -c lmtp-send -s t -l to -d 'Recipient; repeatable, or separated by commas [default: from the headers]' -r
complete -c lmtp-send -s l -l lhlo -d 'Client name sent in LHLO [default: this host\'s name]' -r
complete -c lmtp-send -l timeout -d 'Time limit for the connection and for each reply [default: 120]' -r
complete -c lmtp-send -l data-timeout -d 'Time limit for the replies to the message [default: 600, or --timeout]' -r
complete -c lmtp-send -l deadline -d 'Time limit for each message, all attempts together [default: 900]' -r
complete -c lmtp-send -l uncertain -d 'How to count a recipient whose reply was lost: exit 75, 0 or 69 [default: defer]' -r -f -a "defer\t'Exit 75: rather twice than never'
deliver\t'Exit 0: rather never than twice'
fail\t'Exit 69: the sender is to decide'"
complete -c lmtp-send -l exit-style -d 'Exit codes for mta, shell, qmail or monitor [default: mta]' -r -f -a "mta\t'Mail systems: what is not the recipient\'s fault is 75'
shell\t'Scripts: each cause has its own sysexits code'
qmail\t'qmail-local: 0, 111 or 100'
monitor\t'Plugins of Nagios and its kin: 0, 1, 2 or 3, and one line'"
complete -c lmtp-send -l report -d 'Report each recipient\'s outcome on stdout' -r -f -a "text\t'A line for people'
json\t'A JSON object on a line'"
complete -c lmtp-send -l report-file -d 'Append the report to FILE, as text unless --report says otherwise' -r -F
complete -c lmtp-send -l syslog -d 'Write each outcome to syslog as well [default: mail]' -r -f -a "user\t''
mail\t''
daemon\t''
auth\t''
lpr\t''
news\t''
uucp\t''
cron\t''
authpriv\t''
ftp\t''
local0\t''
local1\t''
local2\t''
local3\t''
local4\t''
local5\t''
local6\t''
local7\t''"
complete -c lmtp-send -l ret -d 'How much of the message a notification returns (DSN, RFC 3461)' -r -f -a "full\t'All of it'
hdrs\t'Its header'"
complete -c lmtp-send -l envid -d 'Envelope identifier for notifications' -r
complete -c lmtp-send -l notify -d 'Notify the sender: never, or some of success,failure,delay' -r -f -a "never\t'Under no condition'
success\t'When the message was delivered'
failure\t'When it could not be'
delay\t'When it takes long'"
complete -c lmtp-send -l orcpt -d 'Original recipient for notifications' -r
complete -c lmtp-send -l body -d 'Body: 7bit, 8bitmime or binarymime [default: 8bitmime]' -r -f -a "7bit\t'Lines of US-ASCII (RFC 6152)'
8bitmime\t'Lines of octets (RFC 6152)'
binarymime\t'Octets, sent by BDAT and untouched (RFC 3030)'"
complete -c lmtp-send -l mail-param -d 'Add a parameter to MAIL, sent as given; repeatable' -r
complete -c lmtp-send -l rcpt-param -d 'Add a parameter to each RCPT, sent as given; repeatable' -r
complete -c lmtp-send -l transid -d 'Transaction identifier for a checkpoint (RFC 1845)' -r
complete -c lmtp-send -l verb -d 'The command that begins a transaction (RFC 821) [default: mail]' -r -f -a "mail\t'To the mailbox'
send\t'To the terminal'
soml\t'To the terminal or else the mailbox'
saml\t'To the terminal and the mailbox'"
complete -c lmtp-send -l test -d 'Send a small test message instead of FILE' -r
complete -c lmtp-send -l xclient -d 'Attribute for XCLIENT, to a server that offers it; repeatable' -r
complete -c lmtp-send -l proxy -d 'Send a PROXY protocol header for this client address, or \'local\'' -r
complete -c lmtp-send -l tls -d 'Encrypt: off, opportunistic, starttls or implicit [default: off]' -r -f -a "off\t'Not'
opportunistic\t'With STARTTLS where it is offered; without verifying'
starttls\t'With STARTTLS or not at all'
implicit\t'From the first octet or not at all'"
complete -c lmtp-send -l tls-ca -d 'Trust the CA certificates in FILE (PEM) [default: the system\'s]' -r -F
complete -c lmtp-send -l tls-cert -d 'Client certificate (PEM)' -r -F
complete -c lmtp-send -l tls-key -d 'Private key of --tls-cert (PEM)' -r -F
complete -c lmtp-send -l tls-name -d 'Name the server\'s certificate must have [default: the host\'s]' -r
complete -c lmtp-send -l tls-fingerprint -d 'Accept only the server certificate with this fingerprint' -r
complete -c lmtp-send -s u -l user -d 'Authenticate as NAME' -r
complete -c lmtp-send -l password-file -d 'Read the password from FILE [default: $LMTP_SEND_PASSWORD]' -r -F
complete -c lmtp-send -l password-command -d 'Run COMMAND and read the password from its output' -r
complete -c lmtp-send -l auth -d 'SASL mechanism, such as plain [default: the strongest offered]' -r -f -a "scram-sha-256\t'RFC 7677'
scram-sha-1\t'RFC 5802'
cram-md5\t'RFC 2195'
plain\t'RFC 4616'
login\t'As servers have it; no RFC'
external\t'The identity that TLS or the socket has shown (RFC 4422 appendix A)'"
complete -c lmtp-send -l warning -d 'Monitoring: warn when the answer takes longer' -r
complete -c lmtp-send -l critical -d 'Monitoring: critical when the answer takes longer' -r
complete -c lmtp-send -l warning-days -d 'Monitoring: warn N days before the certificate expires' -r
complete -c lmtp-send -l vrfy -d 'Ask whether ADDR is known (VRFY); repeatable' -r
complete -c lmtp-send -l expn -d 'Ask who is on the list ADDR (EXPN); repeatable' -r
complete -c lmtp-send -l etrn -d 'Ask the server to send its queue for DOMAIN (ETRN); repeatable' -r
complete -c lmtp-send -l help-from-server -d 'Ask for the server\'s help text, about TOPIC' -r
complete -c lmtp-send -l files-from -d 'Send the files named in FILE, one per line (\'-\' is standard input)' -r -F
complete -c lmtp-send -l shard -d 'Send only part K of N of the messages' -r
complete -c lmtp-send -l ledger -d 'Record deliveries in DIR, so that a repeated run sends no second copy' -r -F
complete -c lmtp-send -l ledger-days -d 'Keep the records of --ledger at most N days [default: 7]' -r
complete -c lmtp-send -l connections -d 'Open N sessions in parallel [default: 1]' -r
complete -c lmtp-send -l rate -d 'Send at most N messages per second' -r
complete -c lmtp-send -l repeat -d 'Send each message N times; \'%n\' in --to counts up from 1' -r
complete -c lmtp-send -l retry -d 'Try deferred recipients again, N times at most' -r
complete -c lmtp-send -l retry-for -d 'Try deferred recipients again for SECS, within --deadline' -r
complete -c lmtp-send -l summary -d 'Print a summary of the run on stderr' -r -f -a "text\t'Lines for people'
json\t'A JSON object'"
complete -c lmtp-send -l config -d 'Read settings from FILE (TOML) instead of the usual files' -r -F
complete -c lmtp-send -l profile -d 'Use the settings in the table [profile.NAME] first' -r
complete -c lmtp-send -l domain -d 'Add this domain to addresses without one' -r
complete -c lmtp-send -l aliases -d 'Replace recipients without a domain by their entries in FILE (name: address, ...)' -r -F
complete -c lmtp-send -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c lmtp-send -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c lmtp-send -l keep-bcc -d 'Do not remove Bcc fields from the message'
complete -c lmtp-send -l all-or-nothing -d 'Deliver to nobody when any recipient is refused'
complete -c lmtp-send -l smtputf8 -d 'Send internationalised mail (RFC 6531) even where no address needs it'
complete -c lmtp-send -l soft-bounce -d 'Exit with 75 for every failure, so that no mail bounces'
complete -c lmtp-send -s v -l verbose -d 'Print a line for each recipient; -vv: show the dialogue'
complete -c lmtp-send -l debug -d 'Show the dialogue with the server, secrets redacted'
complete -c lmtp-send -s q -l quiet -d 'Print no diagnostics'
complete -c lmtp-send -l no-chunking -d 'Send the message by DATA even if CHUNKING is offered'
complete -c lmtp-send -l no-pipelining -d 'Wait for the reply to each command before sending the next'
complete -c lmtp-send -l tls-insecure -d 'Do not verify the server\'s certificate'
complete -c lmtp-send -l auth-insecure -d 'Allow PLAIN and LOGIN over TCP without TLS'
complete -c lmtp-send -l probe -d 'Show what the server offers, its certificate and the time of each step'
complete -c lmtp-send -l noop -d 'Ask whether the server answers (NOOP)'
complete -c lmtp-send -l mbox -d 'Read each FILE as an mbox and send each of its messages'
complete -c lmtp-send -l header-recipients -d 'Send messages of an mbox or directory to the recipients in their headers'
complete -c lmtp-send -l fail-fast -d 'Stop after the first message that is not delivered to everybody'
complete -c lmtp-send -l show-config -d 'Print the settings in force and where they come from, and exit'
complete -c lmtp-send -l sendmail -d 'Read all further arguments as sendmail does; see SENDMAIL in the manual'
complete -c lmtp-send -s h -l help -d 'Print help'
complete -c lmtp-send -s V -l version -d 'Print version'

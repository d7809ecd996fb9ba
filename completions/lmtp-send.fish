complete -c lmtp-send -s H -l host -d 'Connect by TCP; repeatable: tried in order until one accepts a session' -r
complete -c lmtp-send -s p -l port -d 'Port, or service, of the hosts given without one [default: 24]' -r
complete -c lmtp-send -s S -l socket -d 'Connect to a Unix-domain socket' -r -F
complete -c lmtp-send -s e -l exec -d 'Run COMMAND and speak LMTP on its stdin and stdout (no shell)' -r
complete -c lmtp-send -l sink -d 'Deliver to the built-in server: Maildirs DIR/RECIPIENT/, for trying out' -r -F
complete -c lmtp-send -l bind -d 'Connect from this source address' -r
complete -c lmtp-send -s f -l from -d 'Reverse-path; \'\' or \'<>\' is the null sender [default: from the headers]' -r
complete -c lmtp-send -s t -l to -d 'Recipient; repeatable, commas separate [default: from the headers]' -r
complete -c lmtp-send -s l -l lhlo -d 'The name to say in LHLO [default: this host\'s name]' -r
complete -c lmtp-send -l timeout -d 'Time limit for the connection and for each reply [default: 120]' -r
complete -c lmtp-send -l data-timeout -d 'Time limit for the replies to the message [default: 600, or --timeout]' -r
complete -c lmtp-send -l deadline -d 'Time limit for each message, all attempts together [default: 900]' -r
complete -c lmtp-send -l uncertain -d 'How a lost reply counts: exit 75, 0 or 69 [default: defer]' -r -f -a "defer\t'Exit 75: rather twice than never'
deliver\t'Exit 0: rather never than twice'
fail\t'Exit 69: the sender is to decide'"
complete -c lmtp-send -l exit-style -d 'Codes for mta, shell, qmail or monitor [default: mta]' -r -f -a "mta\t'Mail systems: what is not the recipient\'s fault is 75'
shell\t'Scripts: each cause has its own sysexits code'
qmail\t'qmail-local: 0, 111 or 100'
monitor\t'Plugins of Nagios and its kin: 0, 1, 2 or 3, and one line'"
complete -c lmtp-send -l report -d 'Report each recipient\'s outcome on stdout' -r -f -a "text\t'A line for people'
json\t'A JSON object on a line'"
complete -c lmtp-send -l report-file -d 'Append the report to FILE instead [form: text, or what --report says]' -r -F
complete -c lmtp-send -l syslog -d 'Write each outcome to the system\'s log as well [default: mail]' -r -f -a "user\t''
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
complete -c lmtp-send -l mail-param -d 'Another parameter for MAIL, as it is; repeatable' -r
complete -c lmtp-send -l rcpt-param -d 'Another parameter for each RCPT, as it is; repeatable' -r
complete -c lmtp-send -l transid -d 'Transaction identifier for a checkpoint (RFC 1845)' -r
complete -c lmtp-send -l verb -d 'The command that begins a transaction (RFC 821) [default: mail]' -r -f -a "mail\t'To the mailbox'
send\t'To the terminal'
soml\t'To the terminal or else the mailbox'
saml\t'To the terminal and the mailbox'"
complete -c lmtp-send -l test -d 'Send a small message of our own instead of FILE' -r
complete -c lmtp-send -l xclient -d 'Attribute for XCLIENT, to a server that offers it; repeatable' -r
complete -c lmtp-send -l proxy -d 'Tell for whom the session is by the PROXY protocol, or \'local\'' -r
complete -c lmtp-send -l tls -d 'Encrypt: off, opportunistic, starttls or implicit [default: off]' -r -f -a "off\t'Not'
opportunistic\t'With STARTTLS where it is offered; without verifying'
starttls\t'With STARTTLS or not at all'
implicit\t'From the first octet or not at all'"
complete -c lmtp-send -l tls-ca -d 'Trust the authorities in FILE (PEM) [default: the system\'s]' -r -F
complete -c lmtp-send -l tls-cert -d 'Certificate to show to the server (PEM)' -r -F
complete -c lmtp-send -l tls-key -d 'The key of --tls-cert (PEM)' -r -F
complete -c lmtp-send -l tls-name -d 'Name that the certificate must bear [default: the host\'s]' -r
complete -c lmtp-send -l tls-fingerprint -d 'Accept the certificate with this fingerprint and no other' -r
complete -c lmtp-send -s u -l user -d 'Authenticate as NAME' -r
complete -c lmtp-send -l password-file -d 'Read the password from FILE [default: $LMTP_SEND_PASSWORD]' -r -F
complete -c lmtp-send -l password-command -d 'Read the password from what COMMAND prints' -r
complete -c lmtp-send -l auth -d 'SASL mechanism, as plain [default: the strongest offered]' -r -f -a "scram-sha-256\t'RFC 7677'
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
complete -c lmtp-send -l etrn -d 'Have the queue for DOMAIN run (ETRN, RFC 1985); repeatable' -r
complete -c lmtp-send -l help-from-server -d 'Ask for the server\'s help, about TOPIC' -r
complete -c lmtp-send -l files-from -d 'Send the files that FILE names, one a line (\'-\': standard input)' -r -F
complete -c lmtp-send -l shard -d 'Only the messages of part K of N' -r
complete -c lmtp-send -l ledger -d 'Remember in DIR who has what, for when the command is repeated' -r -F
complete -c lmtp-send -l ledger-days -d 'How long that is remembered at most [default: 7]' -r
complete -c lmtp-send -l connections -d 'Sessions side by side [default: 1]' -r
complete -c lmtp-send -l rate -d 'At most so many messages per second' -r
complete -c lmtp-send -l repeat -d 'Send each message N times; \'%n\' in --to counts up from 1' -r
complete -c lmtp-send -l retry -d 'Try deferred recipients again, N times at most' -r
complete -c lmtp-send -l retry-for -d 'Try deferred recipients again for SECS, within --deadline' -r
complete -c lmtp-send -l summary -d 'Sum up the run on stderr' -r -f -a "text\t'Lines for people'
json\t'A JSON object'"
complete -c lmtp-send -l config -d 'Read settings from FILE (TOML) instead of the usual files' -r -F
complete -c lmtp-send -l profile -d 'Settings of the table [profile.NAME] go before the others' -r
complete -c lmtp-send -l domain -d 'Domain of addresses without one' -r
complete -c lmtp-send -l aliases -d 'Replace recipients without a domain as FILE says (name: address, ...)' -r -F
complete -c lmtp-send -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c lmtp-send -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c lmtp-send -l keep-bcc -d 'Leave Bcc fields in the message'
complete -c lmtp-send -l all-or-nothing -d 'Cancel the whole transaction when a recipient is refused'
complete -c lmtp-send -l smtputf8 -d 'Send internationalised mail (RFC 6531) even where no address needs it'
complete -c lmtp-send -l soft-bounce -d 'Make every exit code but 0 a 75, so that no mail bounces'
complete -c lmtp-send -s v -l verbose -d 'Say a line for each recipient; twice: show the dialogue'
complete -c lmtp-send -l debug -d 'Show the dialogue with the server, secrets redacted'
complete -c lmtp-send -s q -l quiet -d 'No diagnostics'
complete -c lmtp-send -l no-chunking -d 'Send the message by DATA even where CHUNKING is offered'
complete -c lmtp-send -l no-pipelining -d 'Send each command when the one before has its reply'
complete -c lmtp-send -l tls-insecure -d 'Do not verify the server\'s certificate'
complete -c lmtp-send -l auth-insecure -d 'Allow PLAIN and LOGIN over TCP without TLS'
complete -c lmtp-send -l probe -d 'Show greeting, name, extensions, TLS and the time of each step'
complete -c lmtp-send -l noop -d 'Ask whether the server answers at all (NOOP)'
complete -c lmtp-send -l mbox -d 'Each FILE is an mbox'
complete -c lmtp-send -l header-recipients -d 'Messages of an mbox or a directory go to whom their headers name'
complete -c lmtp-send -l fail-fast -d 'Take no further message once a recipient was not delivered to'
complete -c lmtp-send -l show-config -d 'Print what is in force and where it comes from; deliver nothing'
complete -c lmtp-send -l sendmail -d 'Take the words behind it as sendmail does; see SENDMAIL in the manual'
complete -c lmtp-send -s h -l help -d 'Print help'
complete -c lmtp-send -s V -l version -d 'Print version'

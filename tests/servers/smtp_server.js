// npm's smtp-server in LMTP mode.  usage: node smtp_server.js MODULES PORT FOLDER OPTIONS
//
// Keeps each message in FOLDER. OPTIONS are the library's own, as JSON. The account is postman, its password
// `correct horse`; mailboxes whose names begin with `unknown` are refused at RCPT, with `full` after the message.
const fs = require('fs');
const [modules, port, folder, options] = process.argv.slice(2);
const { SMTPServer } = require(`${modules}/smtp-server`);

const refusal = (code, text) => Object.assign(new Error(text), { responseCode: code });
let number = 0;

const server = new SMTPServer({
    lmtp: true,
    name: 'node.example.net',
    disableReverseLookup: true,
    onAuth: (auth, session, done) => {
        const right = auth.username === 'postman' && (auth.password === 'correct horse' || auth.validatePassword?.('correct horse'));
        right ? done(null, { user: auth.username }) : done(refusal(535, '5.7.8 wrong'));
    },
    onRcptTo: (recipient, session, done) =>
        done(recipient.address.startsWith('unknown') ? refusal(550, '5.1.1 no such mailbox') : null),
    onData: (stream, session, done) => {
        const pieces = [];
        stream.on('data', piece => pieces.push(piece));
        stream.on('end', () => {
            fs.writeFileSync(`${folder}/${String(++number).padStart(3, '0')}`, Buffer.concat(pieces));
            done(null, session.envelope.rcptTo.map(({ address }) =>
                address.startsWith('full') ? refusal(452, '4.2.2 mailbox full') : `2.0.0 ${address} stored`));
        });
    },
    ...JSON.parse(options),
});
server.on('error', error => console.error(error.message));
server.listen(Number(port), '127.0.0.1');

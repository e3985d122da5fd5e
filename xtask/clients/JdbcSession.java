// Everything that the JDBC driver does with a session: server-side statements, autosave, schemas, cursors, COPY, notifications, XA.

import java.io.StringReader;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.xa.PGXADataSource;

public class JdbcSession {
    static final Map<String, String> ENV = System.getenv();
    static final String URL = "jdbc:postgresql://127.0.0.1:" + ENV.get("PGPORT") + "/" + ENV.get("PGDATABASE");

    static Connection connect(String... more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", ENV.get("PGUSER"));
        properties.setProperty("password", ENV.get("PGPASSWORD"));
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", ENV.get("PGSSLROOTCERT"));
        for (int n = 0; n < more.length; n += 2) properties.setProperty(more[n], more[n + 1]);
        return DriverManager.getConnection(URL, properties);
    }

    static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static String value(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void same(Object expected, Object seen) {
        if (!Objects.equals(expected, seen)) throw new AssertionError("expected " + expected + ", seen " + seen);
    }

    interface Body {
        void run() throws Exception;
    }

    static void refused(String code, Body body) throws Exception {
        try {
            body.run();
        } catch (SQLException error) {
            same(code, error.getSQLState());
            return;
        }
        throw new AssertionError("not refused with " + code);
    }

    static void setUp() throws Exception {
        try (Connection connection = connect()) {
            run(connection, "DROP TABLE IF EXISTS java_account, java_copy, java_plan");
            run(connection, "CREATE TABLE java_account (id serial PRIMARY KEY, balance int NOT NULL)");
            run(connection, "INSERT INTO java_account (balance) SELECT 100 FROM generate_series(1, 10)");
            run(connection, "CREATE TABLE java_copy (n int, t text)");
            run(connection, "CREATE TABLE java_plan (a int)");
            run(connection, "INSERT INTO java_plan VALUES (1)");
        }
    }

    static void valuesOfManyTypes() throws Exception {
        for (String threshold : new String[] {"0", "1", "-1"}) {
            try (Connection connection = connect("prepareThreshold", threshold);
                    PreparedStatement statement = connection.prepareStatement("SELECT ?::int, ?::text, ?::bytea, ?::numeric, ?::timestamptz, NULL, ?")) {
                for (int n = 0; n < 10; n++) {
                    statement.setInt(1, n);
                    statement.setString(2, "ä€😀");
                    statement.setBytes(3, new byte[] {0, 1, -1});
                    statement.setBigDecimal(4, new java.math.BigDecimal("1.50"));
                    statement.setTimestamp(5, new Timestamp(1_000_000_000_123L));
                    statement.setArray(6, connection.createArrayOf("int4", new Object[] {1, 2}));
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        same(n, rows.getInt(1));
                        same("ä€😀", rows.getString(2));
                        same((byte) -1, rows.getBytes(3)[2]);
                        same("1.50", rows.getBigDecimal(4).toString());
                        same(1_000_000_000_123L, rows.getTimestamp(5).getTime());
                        same(null, rows.getObject(6));
                        same(2, ((Integer[]) rows.getArray(7).getArray())[1]);
                    }
                }
            }
        }
    }

    static void serverSideStatements() throws Exception {
        try (Connection connection = connect("prepareThreshold", "3");
                PreparedStatement statement = connection.prepareStatement("SELECT ?::int * 2")) {
            for (int n = 0; n < 20; n++) {
                statement.setInt(1, n);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(2 * n, rows.getInt(1));
                }
                same(n >= 1, ((PGStatement) statement).isUseServerPrepare());
            }
        }
    }

    static void manyStatementsAreForgotten() throws Exception {
        try (Connection connection = connect("prepareThreshold", "1", "preparedStatementCacheQueries", "4")) {
            for (int round = 0; round < 3; round++) {
                for (int n = 0; n < 20; n++) {
                    try (PreparedStatement statement = connection.prepareStatement("SELECT ?::int + " + n)) {
                        statement.setInt(1, 100);
                        try (ResultSet rows = statement.executeQuery()) {
                            rows.next();
                            same(100 + n, rows.getInt(1));
                        }
                    }
                }
            }
        }
    }

    static void plansThatChange() throws Exception {
        try (Connection connection = connect("prepareThreshold", "1"); Connection other = connect();
                PreparedStatement statement = connection.prepareStatement("SELECT * FROM java_plan")) {
            for (int n = 0; n < 6; n++) {
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(1 + n, rows.getMetaData().getColumnCount());
                }
                run(other, "ALTER TABLE java_plan ADD COLUMN b" + n + " int");
            }
        }
    }

    static void plansThatChangeInTransactions() throws Exception {
        try (Connection connection = connect("prepareThreshold", "1", "autosave", "conservative"); Connection other = connect();
                PreparedStatement statement = connection.prepareStatement("SELECT * FROM java_plan")) {
            statement.executeQuery().close();
            run(other, "ALTER TABLE java_plan ADD COLUMN late int");
            connection.setAutoCommit(false);
            run(connection, "INSERT INTO java_account (balance) VALUES (0)");
            statement.executeQuery().close();
            connection.rollback();
        }
    }

    static void transactionsAndSavepoints() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            run(connection, "UPDATE java_account SET balance = balance - 10 WHERE id = 1");
            run(connection, "UPDATE java_account SET balance = balance + 10 WHERE id = 2");
            Savepoint savepoint = connection.setSavepoint("before");
            run(connection, "UPDATE java_account SET balance = 0");
            connection.rollback(savepoint);
            connection.releaseSavepoint(savepoint);
            connection.commit();
            run(connection, "DELETE FROM java_account");
            connection.rollback();
            same("1000", value(connection, "SELECT sum(balance) FROM java_account"));
            refused("22012", () -> value(connection, "SELECT 1/0"));
            refused("25P02", () -> value(connection, "SELECT 1"));
            connection.rollback();
            same("1", value(connection, "SELECT 1"));
            connection.commit();
        }
    }

    static void autosave() throws Exception {
        try (Connection connection = connect("autosave", "always")) {
            connection.setAutoCommit(false);
            run(connection, "UPDATE java_account SET balance = balance + 1 WHERE id = 3");
            refused("22012", () -> value(connection, "SELECT 1/0"));
            same("101", value(connection, "SELECT balance FROM java_account WHERE id = 3"));
            connection.rollback();
            same("100", value(connection, "SELECT balance FROM java_account WHERE id = 3"));
            connection.commit();
        }
    }

    static void sessionState() throws Exception {
        try (Connection connection = connect("ApplicationName", "of java", "currentSchema", "public", "options", "-c statement_timeout=55s", "readOnlyMode", "always")) {
            same("of java", value(connection, "SHOW application_name"));
            same("55s", value(connection, "SHOW statement_timeout"));
            same("public", connection.getSchema());
            connection.setSchema("pg_catalog");
            same("pg_catalog", connection.getSchema());
            connection.setClientInfo("ApplicationName", "renamed");
            same("renamed", value(connection, "SHOW application_name"));
            connection.setReadOnly(true);
            refused("25006", () -> run(connection, "DELETE FROM public.java_account"));
            connection.setReadOnly(false);
            same("off", value(connection, "SHOW transaction_read_only"));
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            same("serializable", value(connection, "SHOW transaction_isolation"));
            same(Connection.TRANSACTION_SERIALIZABLE, connection.getTransactionIsolation());
            same("renamed", value(connection, "SHOW application_name"));
        }
        try (Connection connection = connect()) {
            same("read committed", value(connection, "SHOW transaction_isolation"));
        }
    }

    /** More threads than lent connections, each with its own schema, zone and statements. */
    static void manyThreads() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(8);
        List<Future<?>> all = new ArrayList<>();
        for (int t = 0; t < 8; t++) {
            int number = t;
            all.add(threads.submit(() -> {
                oneThread(number);
                return null;
            }));
        }
        for (Future<?> one : all) one.get(90, TimeUnit.SECONDS);
        threads.shutdown();
    }

    static void oneThread(int number) throws SQLException {
        try (Connection connection = connect("prepareThreshold", "2", "ApplicationName", "thread " + number);
                PreparedStatement statement = connection.prepareStatement("SELECT current_setting('search_path') || current_setting('application_name') || ?::text")) {
            connection.setSchema("java_" + number);
            for (int n = 0; n < 30; n++) {
                connection.setAutoCommit(n % 3 != 0);
                statement.setInt(1, n);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same("java_" + number + "thread " + number + n, rows.getString(1).replace("'", "").replace("\"", ""));
                }
                if (n % 3 == 0) connection.commit();
            }
        }
    }

    static void cursors() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                int count = 0;
                try (ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 1050) n")) {
                    while (rows.next()) same(++count, rows.getInt(1));
                }
                same(1050, count);
            }
            connection.commit();
            int kinds = ResultSet.TYPE_SCROLL_INSENSITIVE;
            try (Statement statement = connection.createStatement(kinds, ResultSet.CONCUR_UPDATABLE);
                    ResultSet rows = statement.executeQuery("SELECT id, balance FROM java_account ORDER BY id")) {
                rows.last();
                rows.updateInt(2, 7);
                rows.updateRow();
                rows.first();
                same(1, rows.getInt(1));
            }
            same("7", value(connection, "SELECT balance FROM java_account ORDER BY id DESC LIMIT 1"));
            connection.rollback();
        }
    }

    static void batchesAndKeys() throws Exception {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection connection = connect("reWriteBatchedInserts", rewrite, "prepareThreshold", "1")) {
                connection.setAutoCommit(false);
                String sql = "INSERT INTO java_account (balance) VALUES (?)";
                try (PreparedStatement statement = connection.prepareStatement(sql, new String[] {"id"})) {
                    for (int n = 0; n < 500; n++) {
                        statement.setInt(1, n);
                        statement.addBatch();
                    }
                    same(500, statement.executeBatch().length);
                    int keys = 0;
                    try (ResultSet rows = statement.getGeneratedKeys()) {
                        while (rows.next()) keys++;
                    }
                    same(500, keys);
                }
                same("510", value(connection, "SELECT count(*) FROM java_account"));
                connection.rollback();
            }
        }
    }

    static void batchesThatFail() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.addBatch("INSERT INTO java_copy VALUES (1, 'a')");
            statement.addBatch("INSERT INTO java_copy VALUES (1/0, 'b')");
            statement.addBatch("INSERT INTO java_copy VALUES (3, 'c')");
            try {
                statement.executeBatch();
                throw new AssertionError("a batch with an error in it succeeded");
            } catch (BatchUpdateException error) {
                same("22012", error.getSQLState());
            }
            same("1", value(connection, "SELECT 1"));
            run(connection, "TRUNCATE java_copy");
        }
    }

    static void copies() throws Exception {
        try (Connection connection = connect()) {
            var manager = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < 2000; n++) lines.append(n).append('\t').append("ä".repeat(n % 30)).append('\n');
            same(2000L, manager.copyIn("COPY java_copy FROM STDIN", new StringReader(lines.toString())));
            refused("22P02", () -> manager.copyIn("COPY java_copy FROM STDIN", new StringReader("x\ty\n")));
            StringWriter out = new StringWriter();
            same(2000L, manager.copyOut("COPY (SELECT * FROM java_copy ORDER BY n) TO STDOUT", out));
            same(lines.toString(), out.toString());
        }
    }

    static void notifications() throws Exception {
        try (Connection connection = connect(); Connection other = connect()) {
            run(connection, "LISTEN java_channel");
            run(other, "NOTIFY java_channel, 'from another'");
            PGNotification[] seen = connection.unwrap(PGConnection.class).getNotifications(20_000);
            same(1, seen.length);
            same("from another", seen[0].getParameter());
            run(connection, "UNLISTEN *");
        }
    }

    static void cancelling() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            refused("57014", () -> statement.execute("SELECT pg_sleep(60)"));
            same("1", value(connection, "SELECT 1"));
        }
    }

    static void functionsAndLargeObjects() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            try (CallableStatement call = connection.prepareCall("{? = call upper(?)}")) {
                call.registerOutParameter(1, Types.VARCHAR);
                call.setString(2, "abc");
                call.execute();
                same("ABC", call.getString(1));
            }
            var manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long number = manager.createLO();
            try (LargeObject object = manager.open(number)) {
                object.write("written".getBytes());
                object.seek(2);
                same("itten", new String(object.read(100)));
            }
            manager.delete(number);
            connection.commit();
        }
    }

    static void metadata() throws Exception {
        try (Connection connection = connect()) {
            DatabaseMetaData about = connection.getMetaData();
            try (ResultSet rows = about.getColumns(null, "public", "java_account", "%")) {
                rows.next();
                same("id", rows.getString("COLUMN_NAME"));
            }
            try (ResultSet rows = about.getPrimaryKeys(null, "public", "java_account")) {
                same(true, rows.next());
            }
            same(true, connection.isValid(5));
        }
    }

    record Number(byte[] id) implements Xid {
        public int getFormatId() { return 1; }
        public byte[] getGlobalTransactionId() { return id; }
        public byte[] getBranchQualifier() { return new byte[] {1}; }
    }

    static void twoPhaseCommit() throws Exception {
        PGXADataSource source = new PGXADataSource();
        source.setUrl(URL);
        source.setUser(ENV.get("PGUSER"));
        source.setPassword(ENV.get("PGPASSWORD"));
        source.setSslMode("verify-full");
        source.setSslRootCert(ENV.get("PGSSLROOTCERT"));
        var connection = source.getXAConnection();
        XAResource resource = connection.getXAResource();
        Xid id = new Number(("java" + System.nanoTime()).getBytes());
        resource.start(id, XAResource.TMNOFLAGS);
        run(connection.getConnection(), "INSERT INTO java_copy VALUES (-1, 'in two phases')");
        resource.end(id, XAResource.TMSUCCESS);
        same(XAResource.XA_OK, resource.prepare(id));
        resource.commit(id, false);
        connection.close();
        try (Connection plain = connect()) {
            same("1", value(plain, "SELECT count(*) FROM java_copy WHERE n = -1"));
        }
    }

    static final String[] CHECKS = {
        "valuesOfManyTypes", "serverSideStatements", "manyStatementsAreForgotten", "plansThatChange", "plansThatChangeInTransactions",
        "transactionsAndSavepoints", "autosave", "sessionState", "manyThreads", "cursors", "batchesAndKeys", "batchesThatFail", "copies",
        "notifications", "cancelling", "functionsAndLargeObjects", "metadata", "twoPhaseCommit",
    };

    public static void main(String[] arguments) throws Exception {
        setUp();
        int bad = 0;
        for (String name : CHECKS) {
            Method check = JdbcSession.class.getDeclaredMethod(name);
            try {
                check.invoke(null);
            } catch (InvocationTargetException error) {
                System.out.println("FAILED " + name);
                error.getCause().printStackTrace(System.out);
                bad++;
            }
        }
        System.out.println(CHECKS.length - bad + " of " + CHECKS.length + " checks held");
        System.exit(bad == 0 ? 0 : 1);
    }
}
